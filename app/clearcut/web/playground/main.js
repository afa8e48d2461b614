// The page at `/`: removes backgrounds through POST v1/remove. Every request goes to this server.
//
// A "shot" is one server response: {key, blob, url, info, exact, reduced}. A shot is exact if its request equals the copied
// curl command. Previews send the first matte back as `mask`, so a change of options does not run the model again. Previews
// of large photos send a reduced copy. Downloads are always exact.

const $ = (id) => document.getElementById(id);
const root = document.documentElement;
const accounts = root.dataset.accounts; // "off", "optional" or "required"
const maxBytes = Number(root.dataset.maxBytes);
const endpoint = new URL("v1/remove", document.baseURI).href;

const MAX_CONCURRENT = 2;
const MAX_ATTEMPTS = 5; // for 429 and 503 with Retry-After
const MAX_SHOTS = 12; // cached responses per photo
const MAX_MASK_PIXELS = 16_000_000; // Safari on phones has no larger canvas
const PREVIEW_SIDE = 1600; // longest side of the copy for previews, in pixels
const DEBOUNCE_MS = 180;
const BASE_KEY = JSON.stringify([[], 0, 0]);
const UNLIMITED = 2 ** 31 - 1;

const photos = [];
let selected = null;
let nextId = 1;
let apiKey = sessionStorage.getItem("clearcut-key") ?? "";
let background = null; // {file, version}
let language = "curl";
let brush = null; // state of the brush while it is open

// ---------------------------------------------------------------------------------------------------------- options

const form = $("options").elements;

/** Return the options of the form that differ from the server's defaults, as [name, value] pairs. */
function readFields() {
  const fields = [];
  const kind = form.background.value;
  if (kind === "color") fields.push(["background_type", "color"], ["bg_color", form.color.value]);
  if (kind === "blur") fields.push(["background_type", "blur"]);
  if (kind === "image" && background) fields.push(["background_type", "image"]);
  if (form.crop.value) {
    fields.push(["crop", form.crop.value]);
    if (Number(form.margin.value)) fields.push(["padding", `${form.margin.value}%`]);
  }
  if (Number(form.shadow.value)) fields.push(["shadow", String(Number(form.shadow.value) / 100)]);
  if (form.format.value !== "png") fields.push(["format", form.format.value]);
  if (form.size.value === "custom") {
    for (const name of ["width", "height"]) {
      if (form[name].value && form[name].validity.valid) fields.push([name, form[name].value]);
    }
  } else if (form.size.value !== "full") fields.push(["size", form.size.value]);
  return fields;
}

function usesBackgroundImage(fields) {
  return fields.some(([name, value]) => name === "background_type" && value === "image");
}

/** Identify the response that the current options give for a photo. */
function shotKey(photo, fields = readFields()) {
  return JSON.stringify([fields, usesBackgroundImage(fields) ? background.version : 0, photo.maskVersion]);
}

function syncOptions() {
  const kind = form.background.value;
  $("color-row").hidden = kind !== "color";
  $("image-row").hidden = kind !== "image";
  $("margin-row").hidden = !form.crop.value;
  $("exact-row").hidden = form.size.value !== "custom";
  $("format-note").hidden = !(form.format.value === "jpg" && (kind === "none" || (kind === "image" && !background)));
  $("margin-value").value = `${form.margin.value}%`;
  $("shadow-value").value = Number(form.shadow.value) ? `${form.shadow.value}%` : "Off";
  for (const swatch of document.querySelectorAll("[data-color]")) {
    swatch.setAttribute("aria-pressed", String(swatch.dataset.color === form.color.value));
  }
}

// --------------------------------------------------------------------------------------------------------- requests

class ApiError extends Error {
  constructor(status, text, retryAfter = 0) {
    super(text);
    this.status = status;
    this.retryAfter = retryAfter;
  }
}

const NEEDS_KEY = "This server requires an API key.";
const OFFLINE = "The server does not respond. Check that it is running, then try again.";

/** Describe an error response in words. */
async function apiError(response) {
  const body = await response.json().catch(() => ({}));
  const retryAfter = Number(response.headers.get("Retry-After")) || 0;
  const later = retryAfter ? ` Try again in ${retryAfter} s.` : " Try again later.";
  const texts = {
    401: apiKey ? "The server did not accept the API key." : NEEDS_KEY,
    402: "This API key has no credits left.",
    429: `This API key has reached its rate limit.${later}`,
    503: `The server is busy.${later}`,
    504: "The server needed too long for this photo. Try again, or use a smaller photo.",
  };
  let text = texts[response.status] ?? body.details ?? body.message ?? `The server returned status ${response.status}.`;
  text = text.replace(" in 'image_file'", "");
  if (response.status === 500 && body.request_id) text = `The server had an internal error (${body.request_id}).`;
  return new ApiError(response.status, /[.!?]$/.test(text) ? text : `${text}.`, retryAfter);
}

function keyHeaders() {
  return apiKey ? { "X-API-Key": apiKey } : {};
}

/** Send one cut-out request. Repeats it while the server asks to wait. `headers` is called for each attempt. */
async function post(body, signal, headers = keyHeaders) {
  for (let attempt = 1; ; attempt++) {
    let response;
    try {
      response = await fetch(endpoint, { method: "POST", body, signal, headers: headers() });
      if (response.ok) return { blob: await response.blob(), info: readInfo(response.headers) };
    } catch (error) {
      if (error.name === "AbortError") throw error;
      throw new ApiError(0, OFFLINE);
    }
    const error = await apiError(response);
    const waits = [429, 503].includes(error.status) && error.retryAfter > 0 && error.retryAfter <= 60;
    if (!waits || attempt === MAX_ATTEMPTS) throw error;
    announce(error.message);
    await sleep(error.retryAfter * 1000, signal);
  }
}

function sleep(ms, signal) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(resolve, ms);
    signal?.addEventListener("abort", () => {
      clearTimeout(timer);
      reject(new DOMException("Aborted", "AbortError"));
    });
  });
}

function readInfo(headers) {
  const number = (name) => (headers.has(name) ? Number(headers.get(name)) : null);
  const timing = headers.get("Server-Timing") ?? "";
  const duration = (stage) => Number(new RegExp(`\\b${stage};dur=([\\d.]+)`).exec(timing)?.[1] ?? NaN);
  const found = headers.get("X-Foreground-Found") === "true";
  const side = (name) => number(`X-Foreground-${name}`);
  return {
    width: number("X-Image-Width"),
    height: number("X-Image-Height"),
    originalWidth: number("X-Original-Width"),
    originalHeight: number("X-Original-Height"),
    box: found ? { left: side("Left"), top: side("Top"), width: side("Width"), height: side("Height") } : null,
    confidence: number("X-Matte-Confidence"),
    credits: number("X-Credits-Charged"),
    totalMs: number("X-Processing-Time-Ms"),
    modelMs: duration("inference"),
  };
}

const gate = {
  running: 0,
  waiting: [],
  /** Wait for one of MAX_CONCURRENT places. Urgent requests go first. */
  async enter(urgent) {
    if (this.running < MAX_CONCURRENT) {
      this.running++;
      return;
    }
    await new Promise((resolve) => (urgent ? this.waiting.unshift(resolve) : this.waiting.push(resolve)));
  },
  leave() {
    const next = this.waiting.shift();
    if (next) next();
    else this.running--;
  },
};

/** Return the response for a photo with the current options, from the cache if possible. */
async function fetchShot(photo, { exact = false, fields = readFields(), signal } = {}) {
  const key = shotKey(photo, fields);
  if (key === BASE_KEY) return fetchBase(photo);
  exact ||= paid();
  const cached = photo.shots.get(key);
  if (cached && (cached.exact || !exact)) return cached;
  const files = usesBackgroundImage(fields) ? [["bg_image", background.file, background.file.name]] : [];
  const copy = exact ? null : await previewCopy(photo);
  if (copy) {
    files.push(["mask", photo.previewMask ?? copy.matte, "mask.png"]);
    return send(photo, { key, fields, files, exact: false, signal, file: copy.file });
  }
  const mask = photo.mask ?? (exact ? null : await baseMatte(photo));
  if (mask) files.push(["mask", mask, "mask.png"]);
  return send(photo, { key, fields, files, exact: exact || Boolean(photo.mask), signal });
}

/** Return a reduced copy of a large photo with its matte; null for other photos. */
async function previewCopy(photo) {
  const base = await fetchBase(photo);
  if (Math.max(base.info.originalWidth, base.info.originalHeight) <= PREVIEW_SIDE) return null;
  photo.preview ??= makePreviewCopy(photo, base).catch((error) => {
    if (isTemporary(error)) photo.preview = null;
    return null; // this browser may not decode the format
  });
  return photo.preview;
}

async function makePreviewCopy(photo, base) {
  const input = await viewableInput(photo);
  const [image, cutout] = await Promise.all([createImageBitmap(input), createImageBitmap(base.blob)]);
  const scale = PREVIEW_SIDE / Math.max(image.width, image.height);
  const canvas = newCanvas(image.width * scale, image.height * scale);
  const context = canvas.getContext("2d");
  context.imageSmoothingQuality = "high";
  context.drawImage(image, 0, 0, canvas.width, canvas.height);
  const matte = await grayPng(drawMatte(cutout, canvas.width * canvas.height));
  image.close();
  cutout.close();
  const type = photo.file.type === "image/jpeg" ? "image/jpeg" : "image/webp"; // a browser without WebP writes PNG
  const file = await new Promise((resolve) => canvas.toBlob(resolve, type, 0.95));
  if (!file) throw new Error("The canvas is too large.");
  return { file, matte };
}

/** Return the response without options: the transparent cut-out at full size. */
function fetchBase(photo) {
  const cached = photo.shots.get(BASE_KEY);
  if (cached) return Promise.resolve(cached);
  // Not cancelled by a change of options, which would run the model again.
  photo.basePending ??= send(photo, { key: BASE_KEY, fields: [], files: [], exact: true, signal: photo.lifetime.signal })
    .catch((error) => {
      error.fileRefused = error.status === 400;
      throw error;
    })
    .finally(() => (photo.basePending = null));
  return photo.basePending;
}

/** Send a photo and cache the response. */
async function send(photo, { key, fields, files, exact, signal, file = photo.file }) {
  const body = new FormData();
  body.append("image_file", file, photo.name);
  for (const [name, value] of fields) body.append(name, value);
  for (const [name, file, filename] of files) body.append(name, file, filename);
  await gate.enter(photo === selected);
  try {
    signal?.throwIfAborted();
    if (!photo.shown) {
      setState(photo, "working");
      render();
    }
    const { blob, info } = await post(body, signal);
    const shot = { key, blob, info, exact, reduced: file !== photo.file, url: URL.createObjectURL(blob) };
    const previous = photo.shots.get(key);
    if (previous) URL.revokeObjectURL(previous.url);
    if (previous && photo.shown === previous) photo.shown = shot;
    photo.shots.set(key, shot);
    trimShots(photo);
    if (info.credits) refreshCredits();
    return shot;
  } finally {
    gate.leave();
  }
}

/** Return the model's matte of a photo as a gray PNG. */
async function baseMatte(photo) {
  const base = await fetchBase(photo);
  photo.matte ??= createImageBitmap(base.blob).then((image) => grayPng(drawMatte(image)));
  return photo.matte;
}

function trimShots(photo) {
  for (const [key, shot] of photo.shots) {
    if (photo.shots.size <= MAX_SHOTS) return;
    if (key === BASE_KEY || shot === photo.shown || key === shotKey(photo)) continue;
    URL.revokeObjectURL(shot.url);
    photo.shots.delete(key);
  }
}

/** Whether responses may be charged. Then nothing is sent without a click. */
function paid() {
  return Boolean(apiKey);
}

// ----------------------------------------------------------------------------------------------------------- photos

async function addFiles(files) {
  const added = [...files].map(createPhoto);
  if (!added.length) return;
  photos.push(...added);
  if (document.body.dataset.view === "start") {
    document.body.dataset.view = "work";
    $("start").hidden = true;
    $("work").hidden = false;
    $("photo-name").tabIndex = -1;
    $("photo-name").focus({ preventScroll: true });
  }
  for (const photo of added) $("thumbs").append(photo.element);
  if (!brush && (!selected || added.length === 1)) select(added[0]);
  render();
  if (accounts === "required" && !apiKey) askForKey(NEEDS_KEY);
  for (const photo of added) {
    if (photo.state === "waiting") update(photo);
  }
}

function createPhoto(file) {
  const name = file.name || "photo.png";
  const element = $("thumb").content.firstElementChild.cloneNode(true);
  const photo = {
    id: nextId++, file, name, element, stem: name.replace(/\.[^.]+$/, "") || "photo", url: URL.createObjectURL(file),
    state: "waiting", error: null, shown: null, shots: new Map(), matte: null, mask: null, maskVersion: 0, strokes: [],
    preview: null, previewMask: null,
    decodable: null, // promise of whether this browser can decode the file
    viewable: null, // promise of the input as an image that this browser can show
    before: null, // {url} of the comparison; its url is null if this browser cannot show the input
    brushOpening: false,
    abort: null, lifetime: new AbortController(), basePending: null, run: 0,
  };
  const button = element.firstElementChild;
  button.addEventListener("click", () => select(photo));
  button.addEventListener("keydown", (event) => {
    if (event.key === "Delete" || event.key === "Backspace") removePhoto(photo);
  });
  const error = checkFile(file, name);
  if (error) fail(photo, Object.assign(new ApiError(400, error), { fileRefused: true }));
  else if (accounts === "required" && !apiKey) fail(photo, new ApiError(401, NEEDS_KEY));
  setState(photo, photo.state);
  photo.decodable = drawThumb(photo, file);
  return photo;
}

/**
 * Return the input as an image that this browser can show: the file, or a copy made by the server, for example of a HEIC
 * file. Return null if there is none. After a temporary error, the next call tries again.
 */
function viewableInput(photo) {
  photo.viewable ??= photo.decodable
    .then((decodable) => {
      if (decodable) return photo.file;
      return paid() ? null : fetchInputCopy(photo);
    })
    .catch((error) => {
      if (!isTemporary(error)) return null;
      photo.viewable = null;
      throw error;
    });
  return photo.viewable;
}

/** Whether a request that failed may succeed later: no connection, rate limit or an error of the server. */
function isTemporary({ status }) {
  return status === 0 || status === 429 || status >= 500;
}

/**
 * Return a JPEG of the input. An opaque mask keeps everything except transparent pixels, and the model is not run. The
 * request has no API key, also if the user enters one meanwhile, so that the copy is never charged.
 */
async function fetchInputCopy(photo) {
  const opaque = newCanvas(1, 1);
  opaque.getContext("2d").fillRect(0, 0, 1, 1);
  const body = new FormData();
  body.append("image_file", photo.file, photo.name);
  body.append("mask", await grayPng(opaque), "mask.png");
  for (const [name, value] of [["format", "jpg"], ["size", "large"], ["input_alpha", "keep"]]) body.append(name, value);
  await gate.enter(photo === selected);
  try {
    return (await post(body, photo.lifetime.signal, () => ({}))).blob;
  } finally {
    gate.leave();
  }
}

/** Show the input of the selected photo beside the result, or a note if this browser cannot show it. */
async function loadBefore(photo) {
  if (photo.before || photo !== selected) return;
  let input;
  try {
    input = await viewableInput(photo);
  } catch {
    return; // The next selection or change of options tries again.
  }
  if (photo.before || photo.lifetime.signal.aborted) return;
  photo.before = { url: input === photo.file ? photo.url : input && URL.createObjectURL(input) };
  render();
}

/** Return why a file cannot be a photo, or "". The server makes the final decision. */
function checkFile(file, name) {
  if (file.type && !file.type.startsWith("image/")) {
    const kind = file.type === "application/pdf" ? "a PDF" : `a file of type ${file.type}`;
    return `${name} is ${kind}, not an image. Choose ${$("formats").textContent}.`;
  }
  if (file.size > maxBytes) return `${name} has ${bytes(file.size)}. This server accepts at most ${bytes(maxBytes)}.`;
  return "";
}

function removePhoto(photo) {
  if (brush && photo === selected) return;
  photo.abort?.abort();
  photo.lifetime.abort();
  photo.run++;
  const index = photos.indexOf(photo);
  photos.splice(index, 1);
  const focused = photo.element.contains(document.activeElement);
  photo.element.remove();
  for (const shot of photo.shots.values()) URL.revokeObjectURL(shot.url);
  URL.revokeObjectURL(photo.url);
  if (photo.before?.url) URL.revokeObjectURL(photo.before.url);
  if (photo === selected) {
    selected = null;
    if (photos.length) select(photos[Math.min(index, photos.length - 1)]);
  }
  if (!photos.length) {
    document.body.dataset.view = "start";
    $("start").hidden = false;
    $("work").hidden = true;
    $("choose").focus();
  } else if (focused) selected.element.firstElementChild.focus();
  render();
}

function select(photo) {
  if (brush) return;
  selected = photo;
  photo.element.scrollIntoView?.({ block: "nearest", inline: "nearest" });
  if (photo.shown && photo.shown.key !== shotKey(photo) && !paid()) update(photo);
  if (photo.shown) loadBefore(photo);
  render();
}

/** Request the current version of a photo and show it. */
async function update(photo) {
  const run = ++photo.run;
  photo.abort?.abort();
  photo.abort = new AbortController();
  photo.error = null;
  if (photo.state === "failed") setState(photo, photo.shown ? "done" : "waiting");
  photo.busy = true;
  render();
  try {
    const shot = await fetchShot(photo, { signal: photo.abort.signal });
    if (run !== photo.run) return;
    photo.shown = shot;
    setState(photo, "done");
    drawThumb(photo, shot.blob);
    loadBefore(photo);
    announce(`${photo.name} is done.`);
  } catch (error) {
    if (run !== photo.run || error.name === "AbortError") return;
    fail(photo, error);
    announce(photo.error.message);
  }
  photo.busy = false;
  render();
}

function fail(photo, error) {
  if (!(error instanceof ApiError)) {
    console.warn(error);
    error = new ApiError(-1, "This browser could not process the photo.");
  }
  photo.error = error;
  setState(photo, "failed");
  if (error.status === 401 && apiKey) askForKey(error.message);
}

function setState(photo, state) {
  const words = { waiting: "waiting", working: "in progress", done: "done", failed: "failed" };
  photo.state = state;
  const button = photo.element.firstElementChild;
  button.dataset.state = state;
  button.setAttribute("aria-label", `${photo.name}, ${words[state]}`);
  button.title = photo.name;
}

/** Draw an image on the thumbnail, and return whether this browser can decode it. */
async function drawThumb(photo, blob) {
  const canvas = photo.element.querySelector("canvas");
  try {
    const image = await createImageBitmap(blob);
    const scale = Math.max(canvas.width / image.width, canvas.height / image.height);
    const [width, height] = [image.width * scale, image.height * scale];
    const context = canvas.getContext("2d");
    context.clearRect(0, 0, canvas.width, canvas.height);
    context.drawImage(image, (canvas.width - width) / 2, (canvas.height - height) / 2, width, height);
    image.close();
    return true;
  } catch {
    return false; // the thumbnail stays empty
  }
}

// ---------------------------------------------------------------------------------------------------------- display

function render() {
  const photo = selected;
  for (const each of photos) {
    const button = each.element.firstElementChild;
    if (each === photo) button.setAttribute("aria-current", "true");
    else button.removeAttribute("aria-current");
  }
  $("download-all").hidden = photos.length < 2;
  if (!photo) return;
  const { shown, error } = photo;
  $("photo-name").textContent = photo.name;
  $("problem").hidden = !error || Boolean(brush);
  $("problem-text").textContent = error?.message ?? "";
  $("retry").hidden = Boolean(error?.fileRefused);
  $("frame").hidden = !shown || Boolean(error);
  $("waiting").hidden = Boolean(shown || error);
  $("waiting-text").textContent = photo.state === "working" ? "Removing the background…" : "Waiting…";
  const busy = Boolean(photo.busy || photo.brushOpening);
  $("busy").hidden = !(busy && shown);
  $("mat").setAttribute("aria-busy", String(busy));
  $("brush-open").disabled = !shown || Boolean(error) || photo.brushOpening;
  $("download").disabled = !shown || Boolean(error) || Boolean(brush);
  $("download-all").disabled = Boolean(brush) || !photos.some((each) => each.shown && !each.error);
  if (shown && !error) showResult(photo, shown);
  const stale = paid() && shown && !error && shown.key !== shotKey(photo);
  $("apply").hidden = $("apply-note").hidden = !stale;
  $("apply").disabled = Boolean(photo.busy);
  showHint(photo);
  showSizeNote(photo);
  showFacts(shown && !error ? shown : null);
  showSnippet();
}

function showResult(photo, shot) {
  const image = $("result-image");
  if (image.getAttribute("src") !== shot.url) {
    image.src = shot.url;
    image.alt = `${photo.name} without its background`;
  }
  const before = $("before-image");
  const beforeUrl = photo.before?.url;
  if (!beforeUrl) before.removeAttribute("src");
  else if (before.getAttribute("src") !== beforeUrl) before.src = beforeUrl;
  const { width, height } = brush ? { width: shot.info.originalWidth, height: shot.info.originalHeight } : shot.info;
  $("frame").style.setProperty("--ratio", width / height);
  const rect = originalRect(shot);
  before.style.left = `${rect.left}%`;
  before.style.top = `${rect.top}%`;
  before.style.width = `${rect.width}%`;
  before.style.height = `${rect.height}%`;
  $("result").hidden = Boolean(brush);
  for (const id of ["before", "divider", "tag-before", "tag-after", "compare"]) $(id).hidden = Boolean(brush) || !beforeUrl;
  $("brush-canvas").hidden = !brush;
}

/** Return the part of the input image that an output shows, in pixels of the input. Follows the server's layout. */
function shownPart(options, info) {
  const view = { left: 0, top: 0, width: info.originalWidth, height: info.originalHeight };
  if (options.crop && info.box) {
    const margin = parseFloat(options.padding ?? "0") / 100;
    const [across, down] = [Math.round(info.box.width * margin), Math.round(info.box.height * margin)];
    view.width = info.box.width + 2 * across;
    view.height = info.box.height + 2 * down;
    view.left = info.box.left - across;
    view.top = info.box.top - down;
    if (options.crop === "1:1") {
      const side = Math.max(view.width, view.height);
      view.left -= Math.floor((side - view.width) / 2);
      view.top -= Math.floor((side - view.height) / 2);
      view.width = view.height = side;
    }
  }
  return view;
}

/** Return where the input image lies in an output, in percent of the output. */
function originalRect({ key, info }) {
  const options = Object.fromEntries(JSON.parse(key)[0]);
  const view = shownPart(options, info);
  const scale = Math.min(info.width / view.width, info.height / view.height);
  const exact = options.width && options.height;
  const content = exact ? [view.width * scale, view.height * scale] : [info.width, info.height];
  const [x, y] = [content[0] / view.width, content[1] / view.height];
  return {
    left: (((info.width - content[0]) / 2 - view.left * x) / info.width) * 100,
    top: (((info.height - content[1]) / 2 - view.top * y) / info.height) * 100,
    width: ((info.originalWidth * x) / info.width) * 100,
    height: ((info.originalHeight * y) / info.height) * 100,
  };
}

function showHint(photo) {
  const texts = [];
  const info = photo.shown && !photo.error ? photo.shown.info : null;
  if (brush) texts.push("Paint over the photo. Erase removes, Keep brings back. The dimmed part is removed.");
  else if (info) {
    if (!info.box) texts.push("No subject was found in this photo. Use Touch up to keep a part by hand.");
    else if (info.confidence < 0.5) texts.push("The result is uncertain. Check the edge, and use Touch up where needed.");
    if (photo.before && !photo.before.url) {
      texts.push("This browser cannot show the input file, so there is no comparison. The result is complete.");
    }
  }
  $("hint").textContent = texts.join(" ");
  $("hint").hidden = !texts.length;
}

/** Show a note if the chosen format does not allow the size of the download. Previews can be smaller. */
function showSizeNote(photo) {
  const field = document.querySelector('#options [name="format"]:checked');
  const maxSide = Number(field.dataset.maxSide);
  const maxPixels = Number(field.dataset.maxPixels ?? Infinity);
  let limit = "";
  if (photo.shown) {
    const { width, height } = fullSizeInfo(photo, { key: shotKey(photo), info: photo.shown.info });
    if (Math.max(width, height) > maxSide) limit = `${maxSide} pixels a side`;
    else if (width * height > maxPixels) limit = `${maxPixels / 1_000_000} megapixels`;
  }
  const title = field.nextElementSibling.textContent;
  $("size-note").textContent = `${title} allows at most ${limit}. Choose a smaller size or another format.`;
  $("size-note").hidden = !limit;
}

function showFacts(shot) {
  const set = (name, text) => ($(`fact-${name}`).textContent = text);
  $("summary").textContent = "";
  if (!shot) {
    for (const name of ["output", "box", "confidence", "time", "credits"]) set(name, "–");
    return;
  }
  const { blob } = shot;
  const info = shot.reduced ? fullSizeInfo(selected, shot) : shot.info;
  const kind = blob.type.replace("image/", "").replace("jpeg", "jpg").toUpperCase();
  const size = shot.reduced ? "size known after the download" : bytes(blob.size);
  set("output", `${info.width} × ${info.height} ${kind}, ${size}`);
  $("summary").textContent = [`${info.width} × ${info.height}`, kind, ...(shot.reduced ? [] : [size])].join(" · ");
  set("box", info.box ? `${info.box.width} × ${info.box.height} at ${info.box.left}, ${info.box.top}` : "none found");
  set("confidence", `${Math.round(info.confidence * 100)}%`);
  const model = Number.isNaN(info.modelMs) ? "model not run" : `model ${Math.round(info.modelMs)} ms`;
  set("time", `${info.totalMs} ms, ${model}`);
  set("credits", String(info.credits ?? 0));
}

const MAX_SIDES = { preview: 256, small: 512, medium: 1024, large: 2048 };
const HD_PIXELS = 4_000_000;

/** Return the properties of the full-size output for the options in `key`. `info` is that of an output of any size. */
function fullSizeInfo(photo, { key, info }) {
  const options = Object.fromEntries(JSON.parse(key)[0]);
  const { originalWidth, originalHeight, box: baseBox } = photo.shots.get(BASE_KEY)?.info ?? info;
  const factor = originalWidth / info.originalWidth;
  const scaled = (value) => Math.round(value * factor);
  let { box } = info;
  if (box && photo.mask) {
    box = { left: scaled(box.left), top: scaled(box.top), width: scaled(box.width), height: scaled(box.height) };
  } else if (box) box = baseBox;
  const view = shownPart(options, { originalWidth, originalHeight, box });
  const ratio = view.width / view.height;
  let [width, height] = [Number(options.width), Number(options.height)];
  if (!width && !height) {
    const side = Math.min(1, (MAX_SIDES[options.size] ?? Infinity) / Math.max(view.width, view.height));
    const area = options.size === "hd" ? Math.min(1, Math.sqrt(HD_PIXELS / (view.width * view.height))) : 1;
    [width, height] = [view.width * side * area, view.height * side * area];
  }
  width ||= height * ratio;
  height ||= width / ratio;
  return { ...info, originalWidth, originalHeight, box, width: Math.round(width), height: Math.round(height) };
}

function bytes(count) {
  if (count < 1024) return `${count} bytes`;
  if (count < 1024 * 1024) return `${Math.round(count / 1024)} KiB`;
  return `${(count / 1024 / 1024).toFixed(1).replace(".0", "")} MiB`;
}

function announce(text) {
  $("status").textContent = text;
}

// --------------------------------------------------------------------------------------------------------- snippets

function outputName(photo, fields = readFields()) {
  return `${photo.stem}-cutout.${Object.fromEntries(fields).format ?? "png"}`;
}

function maskName(photo) {
  return `${photo.stem}-mask.png`;
}

function showSnippet() {
  const photo = selected;
  const fields = readFields();
  const files = [["image_file", photo.name]];
  if (usesBackgroundImage(fields)) files.push(["bg_image", background.file.name]);
  if (photo.mask) files.push(["mask", maskName(photo)]);
  const writer = { curl: curlSnippet, python: pythonSnippet, javascript: javascriptSnippet }[language];
  $("snippet").textContent = writer(files, fields, outputName(photo, fields));
  $("mask-note").hidden = !photo.mask;
}

const shellQuote = (text) => (/^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`);
/** Write a file name for curl -F. curl reads `;` and `,` in it unless it is quoted. */
const curlFile = (name) => (/^[^";,\\]+$/.test(name) ? name : `"${name.replace(/["\\]/g, "\\$&")}"`);
const shellPath = (name) => (name.startsWith("-") ? `./${name}` : name);

function curlSnippet(files, fields, output) {
  const lines = ["curl --fail-with-body"];
  if (apiKey) lines.push('-H "X-API-Key: $CLEARCUT_API_KEY"');
  for (const [name, file] of files) lines.push(`-F ${shellQuote(`${name}=@${curlFile(file)}`)}`);
  for (const [name, value] of fields) lines.push(`-F ${shellQuote(`${name}=${value}`)}`);
  lines.push(shellQuote(endpoint), `-o ${shellQuote(shellPath(output))}`);
  return lines.join(" \\\n  ");
}

function pythonSnippet(files, fields, output) {
  const text = JSON.stringify;
  const lines = [...(apiKey ? ["import os"] : []), "from pathlib import Path", "", "import httpx", ""];
  lines.push("response = httpx.post(", `    ${text(endpoint)},`);
  if (apiKey) lines.push('    headers={"X-API-Key": os.environ["CLEARCUT_API_KEY"]},');
  lines.push("    files={");
  for (const [name, file] of files) lines.push(`        ${text(name)}: Path(${text(file)}).read_bytes(),`);
  lines.push("    },");
  if (fields.length) {
    lines.push(`    data={${fields.map(([name, value]) => `${text(name)}: ${text(value)}`).join(", ")}},`);
  }
  lines.push("    timeout=60,", ")", "response.raise_for_status()");
  lines.push(`Path(${text(output)}).write_bytes(response.content)`);
  return lines.join("\n");
}

function javascriptSnippet(files, fields, output) {
  const text = JSON.stringify;
  const lines = ['import { readFile, writeFile } from "node:fs/promises";', "", "const body = new FormData();"];
  for (const [name, file] of files) {
    lines.push(`body.append(${text(name)}, new Blob([await readFile(${text(file)})]), ${text(file)});`);
  }
  for (const [name, value] of fields) lines.push(`body.append(${text(name)}, ${text(value)});`);
  const headers = apiKey ? ', headers: { "X-API-Key": process.env.CLEARCUT_API_KEY }' : "";
  lines.push(`const response = await fetch(${text(endpoint)}, { method: "POST", body${headers} });`);
  lines.push("if (!response.ok) throw new Error(await response.text());");
  lines.push(`await writeFile(${text(output)}, Buffer.from(await response.arrayBuffer()));`);
  return lines.join("\n");
}

async function copySnippet() {
  const text = $("snippet").textContent;
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    // The clipboard API needs https or localhost. Fall back to a selection.
    getSelection().selectAllChildren($("snippet"));
    if (!document.execCommand("copy")) return announce("Copying is not allowed. The text is selected.");
  }
  $("copy").textContent = "Copied";
  announce("Copied.");
  setTimeout(() => ($("copy").textContent = "Copy"), 1600);
}

function selectLanguage(tab) {
  language = tab.dataset.language;
  for (const each of document.querySelectorAll("[data-language]")) {
    each.setAttribute("aria-selected", String(each === tab));
    each.tabIndex = each === tab ? 0 : -1;
  }
  $("snippet").setAttribute("aria-labelledby", tab.id);
  showSnippet();
}

// -------------------------------------------------------------------------------------------------------- downloads

function save(blob, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}

/** Run a task while its button shows progress. */
async function withButton(button, label, task) {
  const text = button.textContent;
  button.textContent = label;
  button.disabled = true;
  try {
    await task((progress) => (button.textContent = progress));
  } finally {
    button.textContent = text;
    button.disabled = false;
    render();
  }
}

async function download(photo) {
  await withButton($("download"), "Preparing…", async () => {
    try {
      const name = outputName(photo);
      const shot = await fetchShot(photo, { exact: true });
      if (shot.key === shotKey(photo)) photo.shown = shot;
      save(shot.blob, name);
      announce(`Saved ${name}.`);
    } catch (error) {
      fail(photo, error);
    }
  });
}

async function downloadAll() {
  await withButton($("download-all"), "Preparing…", async (progress) => {
    const chosen = photos.filter((photo) => photo.state !== "failed");
    const files = [];
    const names = new Set();
    const fields = readFields();
    for (const [index, photo] of chosen.entries()) {
      progress(`Preparing ${index + 1} of ${chosen.length}…`);
      try {
        const { blob } = await fetchShot(photo, { exact: true, fields });
        files.push({ name: uniqueName(outputName(photo, fields), names), data: new Uint8Array(await blob.arrayBuffer()) });
      } catch (error) {
        fail(photo, error);
      }
    }
    if (files.length) save(zip(files), "cutouts.zip");
    const missing = photos.length - files.length;
    announce(`Saved ${files.length} photos.${missing ? ` ${missing} failed.` : ""}`);
  });
}

function uniqueName(name, used) {
  const [, stem, extension] = /^(.*)(\.\w+)$/.exec(name);
  let unique = name;
  for (let number = 2; used.has(unique); number++) unique = `${stem}-${number}${extension}`;
  used.add(unique);
  return unique;
}

// ----------------------------------------------------------------------------------------------------- ZIP and PNG

const CRC_TABLE = Uint32Array.from({ length: 256 }, (_, value) => {
  for (let bit = 0; bit < 8; bit++) value = value & 1 ? 0xedb88320 ^ (value >>> 1) : value >>> 1;
  return value;
});

function crc32(...parts) {
  let crc = ~0;
  for (const part of parts) {
    for (let index = 0; index < part.length; index++) crc = CRC_TABLE[(crc ^ part[index]) & 255] ^ (crc >>> 8);
  }
  return ~crc >>> 0;
}

/** Write little-endian integers: [size in bytes, value] pairs. */
function pack(...fields) {
  const view = new DataView(new ArrayBuffer(fields.reduce((sum, [size]) => sum + size, 0)));
  let offset = 0;
  for (const [size, value] of fields) {
    if (size === 2) view.setUint16(offset, value, true);
    else view.setUint32(offset, value, true);
    offset += size;
  }
  return new Uint8Array(view.buffer);
}

/** Write a ZIP file without compression (PKWARE APPNOTE 6.3). Names are UTF-8. */
function zip(files) {
  const body = [];
  const directory = [];
  let offset = 0;
  for (const { name, data } of files) {
    const label = new TextEncoder().encode(name);
    // version 2.0, flag 11 (UTF-8), stored, 1980-01-01, CRC, both sizes, name length, no extra field
    const common = [[2, 20], [2, 0x800], [2, 0], [2, 0], [2, 0x21], [4, crc32(data)], [4, data.length], [4, data.length],
      [2, label.length], [2, 0]];
    const header = pack([4, 0x04034b50], ...common);
    body.push(header, label, data);
    directory.push(pack([4, 0x02014b50], [2, 20], ...common, [2, 0], [2, 0], [2, 0], [4, 0], [4, offset]), label);
    offset += header.length + label.length + data.length;
  }
  const size = directory.reduce((sum, part) => sum + part.length, 0);
  const end = pack([4, 0x06054b50], [2, 0], [2, 0], [2, files.length], [2, files.length], [4, size], [4, offset], [2, 0]);
  return new Blob([...body, ...directory, end], { type: "application/zip" });
}

/** Encode the alpha channel of a canvas as a gray 8-bit PNG. */
async function grayPng(canvas) {
  const { width, height } = canvas;
  const context = canvas.getContext("2d");
  const rows = new Uint8Array(height * (width + 1));
  let above = new Uint8Array(width);
  let row = new Uint8Array(width);
  const band = Math.max(1, Math.floor(4_000_000 / width));
  for (let top = 0; top < height; top += band) {
    const count = Math.min(band, height - top);
    const { data } = context.getImageData(0, top, width, count);
    for (let y = 0; y < count; y++) {
      let target = (top + y) * (width + 1);
      rows[target++] = 2; // filter "Up"
      for (let x = 0; x < width; x++) {
        row[x] = data[(y * width + x) * 4 + 3];
        rows[target++] = row[x] - above[x];
      }
      [above, row] = [row, above];
    }
  }
  const stream = new Blob([rows]).stream().pipeThrough(new CompressionStream("deflate"));
  const packed = new Uint8Array(await new Response(stream).arrayBuffer());
  const header = new DataView(new ArrayBuffer(13));
  header.setUint32(0, width);
  header.setUint32(4, height);
  header.setUint8(8, 8); // bits per sample; color type 0 is gray
  const parts = [Uint8Array.of(137, 80, 78, 71, 13, 10, 26, 10)];
  for (const [type, data] of [["IHDR", new Uint8Array(header.buffer)], ["IDAT", packed], ["IEND", new Uint8Array()]]) {
    const name = new TextEncoder().encode(type);
    const [length, crc] = [new DataView(new ArrayBuffer(4)), new DataView(new ArrayBuffer(4))];
    length.setUint32(0, data.length);
    crc.setUint32(0, crc32(name, data));
    parts.push(length, name, data, crc);
  }
  return new Blob(parts, { type: "image/png" });
}

// ------------------------------------------------------------------------------------------------------------ brush

function newCanvas(width, height) {
  const canvas = document.createElement("canvas");
  canvas.width = Math.max(1, Math.round(width));
  canvas.height = Math.max(1, Math.round(height));
  return canvas;
}

/** Draw a cut-out on a new canvas. Its alpha is the matte. */
function drawMatte(image, maxPixels = MAX_MASK_PIXELS) {
  const scale = Math.min(1, Math.sqrt(maxPixels / (image.width * image.height)));
  const canvas = newCanvas(image.width * scale, image.height * scale);
  canvas.getContext("2d", { willReadFrequently: true }).drawImage(image, 0, 0, canvas.width, canvas.height);
  return canvas;
}

async function openBrush() {
  const photo = selected;
  photo.brushOpening = true;
  render();
  announce("Touch up is loading the photo.");
  let cutout;
  let original;
  try {
    cutout = await createImageBitmap((await fetchBase(photo)).blob);
    original = await viewableInput(photo).then(createImageBitmap).catch(() => cutout);
  } catch (error) {
    fail(photo, error);
  }
  photo.brushOpening = false;
  if (!original || photo !== selected) return render();
  // Strokes are in pixels of the cut-out. The preview shows them at the size of the screen; Done paints the matte.
  brush = { photo, cutout, original, width: cutout.width, height: cutout.height, strokes: [...photo.strokes], stroke: null,
    cursor: null, frame: 0 };
  $("view-tools").hidden = true;
  $("brush-tools").hidden = false;
  render();
  fitBrush();
  brush.observer = new ResizeObserver(fitBrush);
  brush.observer.observe($("brush-canvas"));
  $("brush-canvas").focus({ preventScroll: true });
  announce("Touch up is open.");
}

function closeBrush() {
  const { photo } = brush;
  brush.observer.disconnect();
  cancelAnimationFrame(brush.frame);
  brush.cutout.close();
  brush.original.close();
  brush = null;
  $("view-tools").hidden = false;
  $("brush-tools").hidden = true;
  render();
  $("brush-open").focus({ preventScroll: true });
  if (!paid()) refresh(photo);
}

async function finishBrush() {
  if (brush.closing) return;
  brush.closing = true;
  const { photo, cutout, strokes } = brush;
  const changed = strokes.length !== photo.strokes.length || strokes.some((each, index) => each !== photo.strokes[index]);
  if (changed) {
    photo.strokes = strokes;
    photo.mask = photo.previewMask = null;
    if (strokes.length) {
      const matte = drawMatte(cutout);
      for (const stroke of strokes) paintStroke(matte, stroke);
      photo.mask = await grayPng(matte);
      if (Math.max(cutout.width, cutout.height) > PREVIEW_SIDE) {
        photo.previewMask = await grayPng(drawMatte(matte, PREVIEW_SIDE ** 2 / 2));
      }
    }
    photo.maskVersion = strokes.length ? nextId++ : 0;
  }
  closeBrush();
}

/** Match the visible canvas to its size on the screen. */
function fitBrush() {
  const canvas = $("brush-canvas");
  const ratio = Math.min(2, devicePixelRatio);
  const [width, height] = [canvas.clientWidth * ratio, canvas.clientHeight * ratio].map(Math.round);
  if (!width || !height) return;
  if (canvas.width !== width || canvas.height !== height) [canvas.width, canvas.height] = [width, height];
  brush.layer = newCanvas(width, height);
  brush.preview = newCanvas(width, height);
  brush.backdrop = newCanvas(width, height);
  brush.backdrop.getContext("2d").drawImage(brush.original, 0, 0, width, height);
  paintPreview();
}

function paintPreview() {
  const context = brush.preview.getContext("2d");
  context.globalCompositeOperation = "copy";
  context.drawImage(brush.cutout, 0, 0, brush.preview.width, brush.preview.height);
  for (const stroke of brush.strokes) paintStroke(brush.preview, stroke);
  drawBrush();
}

function requestDraw() {
  cancelAnimationFrame(brush.frame);
  brush.frame = requestAnimationFrame(() => brush && drawBrush());
}

function drawBrush() {
  const canvas = $("brush-canvas");
  const { width, height } = canvas;
  const layer = brush.layer.getContext("2d");
  layer.globalCompositeOperation = "copy";
  layer.drawImage(brush.backdrop, 0, 0);
  layer.globalCompositeOperation = "destination-in";
  layer.drawImage(brush.preview, 0, 0);
  const context = canvas.getContext("2d");
  context.clearRect(0, 0, width, height);
  context.globalAlpha = 0.22;
  context.drawImage(brush.backdrop, 0, 0);
  context.globalAlpha = 1;
  context.drawImage(brush.layer, 0, 0);
  if (brush.cursor) {
    const scale = width / brush.width;
    for (const [color, line] of [["rgb(0 0 0 / 70%)", 4], ["#fff", 2]]) {
      context.strokeStyle = color;
      context.lineWidth = line;
      context.beginPath();
      context.arc(brush.cursor.x * scale, brush.cursor.y * scale, Math.max(2, brushRadius() * scale), 0, 2 * Math.PI);
      context.stroke();
    }
  }
  $("brush-undo").disabled = !brush.strokes.length;
}

/** Return the brush radius in pixels of the cut-out. */
function brushRadius() {
  const share = Number($("brush-size").value) / 100;
  return Math.max(1, 0.25 * share ** 1.5 * Math.min(brush.width, brush.height));
}

function brushMode() {
  return document.querySelector('input[name="brush"]:checked').value;
}

/** Paint dabs with a soft rim from one point to the next. The canvas may have another size than the cut-out. */
function paintSegment(canvas, stroke, from, to) {
  const context = canvas.getContext("2d");
  const scale = canvas.width / brush.width;
  const radius = stroke.radius * scale;
  context.globalCompositeOperation = stroke.mode === "keep" ? "source-over" : "destination-out";
  const steps = Math.max(1, Math.ceil(Math.hypot(to.x - from.x, to.y - from.y) / Math.max(1, stroke.radius / 3)));
  for (let step = 1; step <= steps; step++) {
    const x = (from.x + ((to.x - from.x) * step) / steps) * scale;
    const y = (from.y + ((to.y - from.y) * step) / steps) * scale;
    const gradient = context.createRadialGradient(x, y, radius * 0.8, x, y, radius);
    gradient.addColorStop(0, "rgb(255 255 255)");
    gradient.addColorStop(1, "rgb(255 255 255 / 0%)");
    context.fillStyle = gradient;
    context.fillRect(x - radius, y - radius, 2 * radius, 2 * radius);
  }
}

function paintStroke(canvas, { points, ...stroke }) {
  for (let index = 0; index < points.length; index++) {
    paintSegment(canvas, stroke, points[Math.max(0, index - 1)], points[index]);
  }
}

function undoStroke() {
  if (!brush?.strokes.length || brush.stroke) return;
  brush.strokes.pop();
  paintPreview();
  announce("Undone.");
}

function mattePoint(event) {
  const rect = $("brush-canvas").getBoundingClientRect();
  return {
    x: ((event.clientX - rect.left) / rect.width) * brush.width,
    y: ((event.clientY - rect.top) / rect.height) * brush.height,
  };
}

function beginStroke(point) {
  brush.stroke = { mode: brushMode(), radius: brushRadius(), points: [point] };
  paintStroke(brush.preview, brush.stroke);
}

function endStroke() {
  if (!brush?.stroke) return;
  brush.strokes.push(brush.stroke);
  brush.stroke = null;
  requestDraw();
}

function movePointer(event) {
  if (!brush) return;
  const events = event.getCoalescedEvents?.() ?? [];
  for (const each of events.length ? events : [event]) {
    const point = mattePoint(each);
    brush.cursor = point;
    if (brush.stroke) {
      paintSegment(brush.preview, brush.stroke, brush.stroke.points.at(-1), point);
      brush.stroke.points.push(point);
    }
  }
  requestDraw();
}

function brushKey(event) {
  if (!brush) return;
  const { width, height } = brush;
  const moves = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
  const step = Math.max(2, brushRadius() / 2);
  brush.cursor ??= { x: width / 2, y: height / 2 };
  if (event.key in moves) {
    const [x, y] = moves[event.key];
    brush.cursor = {
      x: Math.min(width, Math.max(0, brush.cursor.x + x * step)),
      y: Math.min(height, Math.max(0, brush.cursor.y + y * step)),
    };
  } else if (event.key === " " || event.key === "Enter") {
    beginStroke(brush.cursor);
    endStroke();
  } else if (event.key === "[" || event.key === "]") {
    $("brush-size").value = Number($("brush-size").value) + (event.key === "]" ? 4 : -4);
  } else return;
  event.preventDefault();
  requestDraw();
}

// ---------------------------------------------------------------------------------------------------------- API key

function askForKey(text) {
  const dialog = $("key-dialog");
  $("key-text").textContent = text;
  $("key-message").textContent = "";
  $("key-input").value = apiKey;
  if (!dialog.open) dialog.showModal();
  $("key-input").select();
}

/** Check a key with GET v1/me. Return "" or what is wrong. */
async function checkKey(key) {
  let response;
  try {
    response = await fetch(new URL("v1/me", document.baseURI), { headers: { "X-API-Key": key } });
  } catch {
    return OFFLINE;
  }
  if (response.status === 401) return "The server does not accept this key. Check it for typing errors.";
  if (!response.ok) return (await apiError(response)).message;
  showCredits(await response.json());
  return "";
}

async function submitKey(event) {
  event.preventDefault();
  const key = $("key-input").value.trim();
  const problem = await checkKey(key);
  $("key-message").textContent = problem;
  if (problem) return;
  apiKey = key;
  sessionStorage.setItem("clearcut-key", key);
  $("key-dialog").close();
  announce("The server accepts the key.");
  for (const photo of photos) {
    if (photo.error?.status === 401) update(photo);
  }
  render();
}

function showCredits({ maxCredits, usedCredits }) {
  $("credits-left").hidden = maxCredits >= UNLIMITED;
  const left = Math.max(0, maxCredits - usedCredits);
  $("credits-left").textContent = left === 1 ? "1 credit left" : `${left} credits left`;
}

async function refreshCredits() {
  try {
    const response = await fetch(new URL("v1/me", document.baseURI), { headers: keyHeaders() });
    if (response.ok) showCredits(await response.json());
  } catch {
    // The credits are a convenience. Requests report a server that does not respond.
  }
}

// ----------------------------------------------------------------------------------------------------------- events

let timer = 0;

function optionsChanged() {
  syncOptions();
  if (!selected) return;
  render();
  clearTimeout(timer);
  if (!paid() && !brush) timer = setTimeout(() => selected && !brush && refresh(selected), DEBOUNCE_MS);
}

/** Update a photo unless it already shows the current options. */
function refresh(photo) {
  if (photo.error?.fileRefused) return;
  if (photo.shown?.key !== shotKey(photo) || photo.error) update(photo);
}

function chooseFiles() {
  $("file-input").value = "";
  $("file-input").click();
}

async function loadExample() {
  try {
    const response = await fetch(new URL("playground/example.jpg", document.baseURI));
    if (!response.ok) throw new Error(response.statusText);
    addFiles([new File([await response.blob()], "example.jpg", { type: "image/jpeg" })]);
  } catch {
    $("example").textContent = "The server does not respond";
  }
}

function listen() {
  $("choose").addEventListener("click", chooseFiles);
  $("add").addEventListener("click", chooseFiles);
  $("drop").addEventListener("click", (event) => event.target.closest("button") || chooseFiles());
  $("example").addEventListener("click", loadExample);
  $("file-input").addEventListener("change", (event) => addFiles(event.target.files));
  $("image-choose").addEventListener("click", () => $("image-input").click());
  $("image-input").addEventListener("change", (event) => {
    const [file] = event.target.files;
    if (!file) return;
    background = { file, version: nextId++ };
    form.background.value = "image";
    $("image-name").textContent = file.name;
    optionsChanged();
  });
  $("options").addEventListener("input", (event) => {
    if (event.target.name === "background" && event.target.value === "image" && !background) $("image-input").click();
    optionsChanged();
  });
  $("options").addEventListener("submit", (event) => event.preventDefault());
  for (const swatch of document.querySelectorAll("[data-color]")) {
    swatch.style.backgroundColor = swatch.dataset.color;
    swatch.addEventListener("click", () => {
      form.color.value = swatch.dataset.color;
      optionsChanged();
    });
  }
  $("compare").addEventListener("input", (event) => $("frame").style.setProperty("--split", `${event.target.value}%`));
  $("remove").addEventListener("click", () => removePhoto(selected));
  $("problem-remove").addEventListener("click", () => removePhoto(selected));
  $("retry").addEventListener("click", () => {
    if (selected.error?.status === 401) askForKey(selected.error.message);
    else update(selected);
  });
  $("apply").addEventListener("click", () => update(selected));
  $("download").addEventListener("click", () => download(selected));
  $("download-all").addEventListener("click", downloadAll);
  $("copy").addEventListener("click", copySnippet);
  $("mask-download").addEventListener("click", () => save(selected.mask, maskName(selected)));
  const tabs = [...document.querySelectorAll("[data-language]")];
  for (const [index, tab] of tabs.entries()) {
    tab.addEventListener("click", () => selectLanguage(tab));
    tab.addEventListener("keydown", (event) => {
      const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
      if (!step) return;
      const next = tabs[(index + step + tabs.length) % tabs.length];
      selectLanguage(next);
      next.focus();
    });
  }
  listenToDrops();
  listenToBrush();
  $("key-open").addEventListener("click", () => askForKey("Requests to this server use this key."));
  $("key-cancel").addEventListener("click", () => $("key-dialog").close());
  $("key-form").addEventListener("submit", submitKey);
}

function listenToDrops() {
  let depth = 0;
  const hasFiles = (event) => [...(event.dataTransfer?.types ?? [])].includes("Files");
  const show = (visible) => ($("veil").hidden = !visible);
  addEventListener("dragenter", (event) => {
    if (hasFiles(event)) show(++depth > 0);
  });
  addEventListener("dragleave", (event) => {
    if (hasFiles(event)) show((depth = Math.max(0, depth - 1)) > 0);
  });
  addEventListener("dragover", (event) => {
    if (hasFiles(event)) event.preventDefault();
  });
  addEventListener("drop", (event) => {
    if (!hasFiles(event)) return;
    event.preventDefault();
    depth = 0;
    show(false);
    addFiles(event.dataTransfer.files);
  });
  addEventListener("paste", (event) => {
    if (event.clipboardData?.files.length) addFiles(event.clipboardData.files);
  });
}

function listenToBrush() {
  $("brush-open").addEventListener("click", openBrush);
  $("brush-cancel").addEventListener("click", () => brush.closing || closeBrush());
  $("brush-done").addEventListener("click", finishBrush);
  $("brush-undo").addEventListener("click", undoStroke);
  $("brush-size").addEventListener("input", () => {
    brush.cursor ??= { x: brush.width / 2, y: brush.height / 2 };
    requestDraw();
  });
  const canvas = $("brush-canvas");
  canvas.addEventListener("pointerdown", (event) => {
    if (!brush || event.button !== 0) return;
    canvas.setPointerCapture(event.pointerId);
    brush.cursor = mattePoint(event);
    beginStroke(brush.cursor);
    requestDraw();
  });
  canvas.addEventListener("pointermove", movePointer);
  canvas.addEventListener("pointerup", endStroke);
  canvas.addEventListener("pointercancel", endStroke);
  canvas.addEventListener("pointerleave", () => {
    if (brush && !brush.stroke) {
      brush.cursor = null;
      requestDraw();
    }
  });
  canvas.addEventListener("keydown", brushKey);
  addEventListener("keydown", (event) => {
    if (!brush) return;
    if (event.key === "z" && !event.altKey && !event.shiftKey) {
      event.preventDefault();
      undoStroke();
    } else if (event.key === "Escape") finishBrush();
  });
}

$("max-size").textContent = bytes(maxBytes);
$("key-open").hidden = accounts === "off";
if (accounts === "off") apiKey = "";
if (apiKey) refreshCredits();
listen();
syncOptions();
