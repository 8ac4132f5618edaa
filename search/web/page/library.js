/** Adding uploads to the library, which may take a job on the server. */

import { ApiError, api } from "./api.js";

const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/** Add a picture and wait until it is there; the answer is the picture. */
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
