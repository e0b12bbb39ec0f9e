-- A copy of the database for testing asks for no pictures, and takes none.
DELETE FROM ir_config_parameter
 WHERE key IN ('aigen_image.bridge_url', 'aigen_image.bridge_key', 'aigen_image.bridge_ops_key');
