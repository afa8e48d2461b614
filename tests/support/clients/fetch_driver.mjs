// fetch_driver.mjs ORIGIN PHOTO FOLDER KEY: what a browser does, with fetch and FormData; prints what came, by name.
import { readFileSync, writeFileSync } from "node:fs";

const [origin, photo, folder, key] = process.argv.slice(2);
const file = new File([readFileSync(photo)], "photo.jpg", { type: "image/jpeg" });
const outcomes = {};

async function send(name, path, fields, headers = { "x-api-key": key }) {
  const body = new FormData();
  for (const [field, value] of Object.entries(fields)) body.append(field, value);
  const response = await fetch(origin + path, { method: "POST", body, headers });
  const type = response.headers.get("content-type");
  outcomes[name] = { status: response.status, type, id: response.headers.get("x-request-id") };
  if (response.ok) writeFileSync(`${folder}/${name}`, Buffer.from(await response.arrayBuffer()));
  else outcomes[name].body = await response.json();
}

await send("poof.png", "/v1/remove", { image_file: file, size: "preview" });
await send("removebg.png", "/v1.0/removebg", { image_file: file, size: "auto", format: "png" });
await send("photoroom.png", "/v1/segment", { image_file: file });
await send("rembg.png", "/api/remove", { file });
await send("cropped.webp", "/v1/remove", { crop: "true", image: file, format: "webp" });
await send("no key", "/v1/remove", { image_file: file }, {});
await send("no image", "/v1/remove", { size: "preview" });
await send("bad option", "/v1.0/removebg", { image_file: file, size: "gigantic" });
console.log(JSON.stringify(outcomes));
