/** Hashes a text to 32 bits: FNV-1a over its code units, with the finalizer of MurmurHash3. */
export function hashText(text: string): number {
  let hash = 0x811c9dc5;
  for (let index = 0; index < text.length; index += 1) hash = Math.imul(hash ^ text.charCodeAt(index), 0x01000193);
  return mix(hash);
}

/** The score of a node for a key, from their hashes: as if drawn for the pair, from 0 to 2^32. */
export function scoreOf(keyHash: number, nodeHash: number): number {
  return mix(Math.imul(keyHash ^ nodeHash, 0x9e3779b1) + keyHash) >>> 0;
}

/** The score of a node with a weight: that it is the highest is as probable as its weight says. */
export function weightedScore(score: number, weight: number): number {
  return -weight / Math.log((score + 0.5) / 2 ** 32);
}

function mix(hash: number): number {
  let mixed = hash ^ (hash >>> 16);
  mixed = Math.imul(mixed, 0x85ebca6b);
  mixed ^= mixed >>> 13;
  mixed = Math.imul(mixed, 0xc2b2ae35);
  return mixed ^ (mixed >>> 16);
}
