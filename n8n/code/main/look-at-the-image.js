// Reads format and size from the file's bytes, and for version 1 its base64. This is done only when what was said about the
// file is incomplete, is not what was ordered, or was wrong: reading the bytes is the most expensive step in N8N.
const { settings } = $('Check the event').first().json;

function png(b) {
  if (b.length < 24 || b.readUInt32BE(0) !== 0x89504e47 || b.toString('latin1', 12, 16) !== 'IHDR') return null;
  return { format: 'png', width: b.readUInt32BE(16), height: b.readUInt32BE(20) };
}

// A JPEG is a row of segments; the frame header (SOF0 to SOF15, but not DHT, JPG and DAC) has the size.
function jpeg(b) {
  if (b.length < 4 || b.readUInt16BE(0) !== 0xffd8) return null;
  for (let at = 2; at + 9 < b.length && b[at] === 0xff; at += 2 + b.readUInt16BE(at + 2)) {
    while (b[at + 1] === 0xff) at += 1; // fill bytes
    const marker = b[at + 1];
    if (marker >= 0xc0 && marker <= 0xcf && ![0xc4, 0xc8, 0xcc].includes(marker)) {
      return { format: 'jpeg', width: b.readUInt16BE(at + 7), height: b.readUInt16BE(at + 5) };
    }
  }
  return null;
}

function webp(b) {
  if (b.length < 30 || b.toString('latin1', 0, 4) !== 'RIFF' || b.toString('latin1', 8, 12) !== 'WEBP') return null;
  const kind = b.toString('latin1', 12, 16);
  if (kind === 'VP8X') return { format: 'webp', width: 1 + b.readUIntLE(24, 3), height: 1 + b.readUIntLE(27, 3) };
  if (kind === 'VP8 ') {
    return { format: 'webp', width: b.readUInt16LE(26) & 0x3fff, height: b.readUInt16LE(28) & 0x3fff };
  }
  const bits = b.readUInt32LE(21); // VP8L
  return { format: 'webp', width: 1 + (bits & 0x3fff), height: 1 + ((bits >>> 14) & 0x3fff) };
}

const { isSubmission, body } = $('An image?').first().json;
const failed = (code, message) => [{ json: { code, message, isSubmission, body } }];
const file = $input.first().binary?.image;
if (!file) {
  const status = Number($input.first().json.details?.httpCode);
  const { jobId, isOlder } = $('Read the submission').isExecuted ? ($('Read the submission').first().json.job ?? {}) : {};
  // The next execution asks the job for its image again, unless the image is gone. An older bridge sends no next one.
  if (!isSubmission && !isOlder && ![403, 404, 410].includes(status)) {
    throw new Error(`The image of the job ${jobId ?? ''} could not be fetched. The bridge sends the request again [seen to].`);
  }
  return failed('image_download_failed', 'The AI service made an image, but it could not be fetched.');
}
const bytes = await this.helpers.getBinaryDataBuffer(0, 'image');
const found = png(bytes) ?? jpeg(bytes) ?? webp(bytes);
if (!found) return failed('image_unreadable', 'The file that the AI service made is not a PNG, JPEG or WebP image.');

const json = { ...$('Hash the image').first().json, metadata: { ...found, size: bytes.length } };
if (settings.callbackStyle === 'v1') json.base64 = bytes.toString('base64');
return [{ json }];
