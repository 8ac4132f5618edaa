/** The server's HTTP interface. Every address is relative, so that it works below any prefix. */

export class ApiError extends Error {
  constructor(status, error = {}, retryAfter = null) {
    super(error.message || `The server answered with status ${status}.`);
    this.status = status;
    this.code = error.code ?? "";
    this.remedy = error.remedy ?? "";
    this.retryAfter = retryAfter;
  }
}

export class Offline extends Error {}

export const isAbort = (error) => error?.name === "AbortError";
export const inWords = (error) => [error.message, error.remedy].filter(Boolean).join(" ");

let signIn = async () => false;
let signingIn = null;

/** What asks for the token after a 401; it answers whether there is a session now. */
export function onUnauthorized(ask) {
  signIn = ask;
}

async function send(method, path, { params = {}, body, type, signal, again = true } = {}) {
  const query = new URLSearchParams(
    Object.entries(params).filter(([, value]) => (value ?? "") !== ""),
  ).toString();
  let response;
  try {
    response = await fetch(query ? `${path}?${query}` : path, {
      method,
      body,
      signal,
      credentials: "same-origin",
      headers: { Accept: "application/json", ...(type && { "Content-Type": type }) },
    });
  } catch (error) {
    if (isAbort(error)) throw error;
    throw new Offline("The server does not answer.");
  }
  if (response.ok) return response.status === 204 ? null : read(response, signal);
  if (response.status === 401 && again) {
    // Several requests may find out at once; one dialog serves them all.
    signingIn ??= signIn().finally(() => (signingIn = null));
    if (await signingIn) return send(method, path, { params, body, type, signal, again: false });
    signal?.throwIfAborted();
  }
  throw await explained(response);
}

async function read(response, signal) {
  try {
    return await response.json();
  } catch (error) {
    if (isAbort(error) || signal?.aborted) throw error;
    throw new Offline("The server's answer broke off.");
  }
}

async function explained(response) {
  const answer = await response.json().catch(() => null);
  // A proxy speaks for a server that is gone, and not in the server's words.
  if (!answer?.error && [502, 503, 504].includes(response.status)) return new Offline("The server does not answer.");
  const wait = Number.parseFloat(response.headers.get("Retry-After"));
  return new ApiError(response.status, answer?.error, Number.isFinite(wait) ? wait : null);
}

const picture = (id) => `v1/pictures/${encodeURIComponent(id)}`;
const binary = (blob) => (blob.type.startsWith("image/") ? blob.type : "application/octet-stream");

export const api = {
  info: (signal) => send("GET", "v1/info", { signal }),
  encoder: () => send("GET", "v1/encoder"),
  pictures: (params, signal) => send("GET", "v1/pictures", { params, signal }),
  picture: (id, signal) => send("GET", picture(id), { signal }),
  similar: (id, params, signal) => send("GET", `${picture(id)}/similar`, { params, signal }),
  search: (blob, params, signal) =>
    send("POST", "v1/search", { params, body: blob, type: binary(blob), signal }),
  why: (id, region, query_id, body) =>
    send(body ? "POST" : "GET", `${picture(id)}/why`, { params: { region, query_id }, body, type: body && binary(body) }),
  add: (blob, name) => send("POST", "v1/pictures", { params: { name }, body: blob, type: binary(blob) }),
  remove: (id) => send("DELETE", picture(id)),
  job: (id) => send("GET", `v1/jobs/${encodeURIComponent(id)}`),
  signIn: (token) =>
    send("POST", "session", { body: JSON.stringify({ token }), type: "application/json", again: false }),
  signOut: () => send("DELETE", "session", { again: false }),
  thumbnail: (id, size) => `${picture(id)}/thumbnail?size=${size}`,
  original: (id, download = false) => `${picture(id)}/original${download ? "?download=1" : ""}`,
};
