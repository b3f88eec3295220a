'use strict';
// Small blobs on their way into rows.
//
// A Buffer that native code makes costs several times one that JavaScript makes. So native code leaves the bytes of small ones here and
// passes `mark` in their place; the functions that make rows take them, in order. Each is a Buffer with memory of its own, for
// programs look at `buffer.buffer` too.

// As in `src/blobs.rs`: first the lengths of all, then the bytes of each in a slot.
const SLOTS = 512;
const SLOT_BYTES = 64;

const memory = new ArrayBuffer(SLOTS + SLOTS * SLOT_BYTES);
const lengths = new Uint8Array(memory, 0, SLOTS);
const bytes = new Uint8Array(memory, SLOTS);
const mark = Object.freeze({});
const { alloc } = Buffer;

/** Returns the blob that was left in a slot. */
function take(slot) {
	const length = lengths[slot];
	const blob = alloc(length);
	for (let i = 0, from = slot * SLOT_BYTES; i < length; i += 1) blob[i] = bytes[from + i];
	return blob;
}

/** Returns the same as no more than bytes. */
function takeBytes(slot) {
	const length = lengths[slot];
	const blob = new Uint8Array(length);
	for (let i = 0, from = slot * SLOT_BYTES; i < length; i += 1) blob[i] = bytes[from + i];
	return blob;
}

module.exports = { memory, mark, take, takeBytes };
