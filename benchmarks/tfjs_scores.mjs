// Scores of a TensorFlow.js layers model for images of raw floats; see benchmarks/moderation.py.
// Arguments: folder with @tensorflow/tfjs, topology module, weight module, file of f32[N,224,224,3], output file (JSON).
import { createRequire } from "node:module";
import { readFileSync, writeFileSync } from "node:fs";
const [tools, topology, weights, input, output] = process.argv.slice(2);
const require = createRequire(tools + "/");
const tf = require("@tensorflow/tfjs");
require("@tensorflow/tfjs-backend-wasm");
const SIDE = 224;

await tf.setBackend("wasm");
const { modelTopology, weightsManifest } = require(topology);
const bytes = Buffer.from(require(weights), "base64");
const weightData = bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.byteLength);
const weightSpecs = weightsManifest.flatMap((group) => group.weights);
const model = await tf.loadLayersModel(tf.io.fromMemory({ modelTopology, weightSpecs, weightData }));
const data = readFileSync(input);
const values = new Float32Array(data.buffer, data.byteOffset, data.byteLength / 4);
const size = SIDE * SIDE * 3;
const scores = [];
for (let start = 0; start < values.length; start += size) {
  const image = tf.tensor4d(values.slice(start, start + size), [1, SIDE, SIDE, 3]);
  scores.push(Array.from(await model.predict(image).data()));
}
writeFileSync(output, JSON.stringify(scores));
