-- A copy of the database for testing asks for no pictures, and takes none.
DELETE FROM ir_config_parameter
 WHERE key IN ('aigen_image.bridge_url', 'aigen_image.bridge_key', 'aigen_image.bridge_ops_key');
DELETE FROM res_users_apikeys
 WHERE user_id IN (SELECT res_id FROM ir_model_data WHERE module = 'aigen_image' AND name = 'user_bridge');

-- The original gets the pictures that are under way. A bridge of the copy would have them made and paid for again.
UPDATE aigen_image_request
   SET status = 'cancelled', finished_at = now() AT TIME ZONE 'UTC', held_since = NULL, progress = NULL
 WHERE status IN ('waiting', 'queued', 'dispatched', 'received');

-- What is asked for here is another request than that of the original, also on one bridge.
UPDATE aigen_image_request
   SET request_id = md5(random()::text || id)::uuid::text, correlation_id = md5(random()::text || id)::uuid::text
 WHERE status = 'draft';
