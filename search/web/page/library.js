/** What is asked of the library, and adding to it. */

import { ApiError, api } from "./api.js";
import { filterParams, isSearch } from "./state.js";

/** How many to ask for: a screen and a half; fewer requests for an upload, which travels each time. */
function page(state) {
  if (state.upload) return 96;
  if (!isSearch(state) && state.order === "random") return innerWidth > 1800 ? 48 : 24;
  const rows = Math.ceil(innerHeight / 240) + 2;
  return Math.min(Math.max(Math.ceil((innerWidth / 290) * rows), 24), 96);
}

/** The pictures that the address asks for. */
export function ask(state, upload, offset, signal) {
  const params = { ...filterParams(state), offset };
  if (!isSearch(state)) return api.pictures({ ...params, order: state.order, limit: page(state) }, signal);
  Object.assign(params, { k: page(state), region: state.region, min_score: state.minScore || null });
  return upload ? api.search(upload.blob, params, signal) : api.similar(state.id, params, signal);
}

const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/** Add a picture and wait until it is there, which may take a job on the server. */
export async function addPicture({ blob, name }, tell) {
  const answer = await api.add(blob, name);
  if (!("state" in answer)) return answer;
  let job = answer;
  for (let wait = 500; ["waiting", "running"].includes(job.state); wait = Math.min(wait * 1.5, 5000)) {
    tell(job.state === "waiting" ? "Waiting for its turn …" : "Adding …");
    await pause(wait);
    job = await api.job(job.id);
  }
  if (job.state !== "done" || job.picture === null) {
    throw new ApiError(422, job.error ?? { message: "The picture was not added." });
  }
  return api.picture(job.picture);
}
