/** Uploaded pictures, kept in this browser so that "back" and "reload" find them again. */

const LARGEST = 30e6;
const MOST = 12;
const DAY = 86_400_000;

const memory = new Map();

let opened = null;

function database() {
  opened ??= new Promise((resolve, reject) => {
    const opening = indexedDB.open("parecido", 1);
    opening.onupgradeneeded = () => opening.result.createObjectStore("uploads", { keyPath: "key" });
    opening.onsuccess = () => resolve(opening.result);
    opening.onerror = () => reject(opening.error);
  });
  return opened;
}

async function store(mode, action) {
  const transaction = (await database()).transaction("uploads", mode);
  const request = action(transaction.objectStore("uploads"));
  return new Promise((resolve, reject) => {
    transaction.oncomplete = () => resolve(request.result);
    transaction.onabort = () => reject(transaction.error);
  });
}

/** Keep a picture; the answer is its key in the address. */
export async function keep(file) {
  const key = crypto.getRandomValues(new BigUint64Array(1))[0].toString(36);
  // The bytes are read now: a file that changes or leaves the disk could not be read later.
  const blob = new Blob([await file.arrayBuffer()], { type: file.type });
  const upload = { key, name: file.name || "pasted picture", blob, time: Date.now() };
  memory.set(key, upload);
  if (blob.size <= LARGEST) {
    store("readwrite", (uploads) => uploads.put(upload)).then(tidy).catch(() => {}); // it stays in memory
  }
  return key;
}

export async function recall(key) {
  if (memory.has(key)) return memory.get(key);
  const upload = await store("readonly", (uploads) => uploads.get(key)).catch(() => null);
  if (upload) memory.set(key, upload);
  return upload ?? null;
}

/** Drop what is older than a day, and all but the latest. */
export async function tidy() {
  const all = await store("readonly", (uploads) => uploads.getAll()).catch(() => []);
  const old = all
    .sort((one, other) => other.time - one.time)
    .filter((upload, at) => at >= MOST || Date.now() - upload.time > DAY);
  for (const { key } of old) await store("readwrite", (uploads) => uploads.delete(key)).catch(() => {});
}
