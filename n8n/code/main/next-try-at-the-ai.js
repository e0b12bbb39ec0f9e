// The question in the shape of fal's flux-lora, and which try this is.
const { order, passOn } = $('Check the event').first().json;
const { settings } = $('Settings').first().json;
const attempt = ($input.first().json.attempt ?? 0) + 1;

// The model knows no negative prompt. It is either folded into the prompt or left out, and the result says which.
const folded = settings.negativePrompt === 'fold' && order.negativePrompt;
const question = {
  prompt: folded ? `${order.prompt}\n\nWithout: ${order.negativePrompt}` : order.prompt,
  image_size: { width: order.width, height: order.height },
  num_images: 1,
  output_format: settings.outputFormat,
};
const optional = {
  num_inference_steps: order.inferenceSteps,
  guidance_scale: order.cfgScale,
  seed: order.seed,
  loras: order.lora && [{ path: order.lora.path, scale: order.lora.scale ?? 1 }],
};
for (const [name, value] of Object.entries(optional)) {
  if (value !== undefined && value !== null) question[name] = value;
}
return [{ json: { attempt, question, headers: passOn } }];
