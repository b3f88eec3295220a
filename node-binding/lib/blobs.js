'use strict';
// Small blobs on their way between JavaScript and native code.
//
// A Buffer that native code makes costs several times one that JavaScript makes; and to look into one, native code has V8 move it out of
// its heap first. So the bytes of small blobs are left in memory that both sides know, and `mark` is passed in their place. A blob in a
// row is a Buffer with memory of its own, for programs look at `buffer.buffer` too.

// As in `src/blobs.rs`: first the lengths of all, then the bytes of each in a slot. Those of rows come before those of parameters.
const ROW_SLOTS = 512;
const PARAMETER_SLOTS = 16;
const SLOT_BYTES = 64;
const SLOTS = ROW_SLOTS + PARAMETER_SLOTS;

const memory = new ArrayBuffer(SLOTS + SLOTS * SLOT_BYTES);
const lengths = new Uint8Array(memory, 0, SLOTS);
const bytes = new Uint8Array(memory, SLOTS);
const mark = Symbol('blob');
const { alloc } = Buffer;
const { isView } = ArrayBuffer;
// Of the arrays themselves: a program's class may have getters of its own, which may run anything.
const inherent = (name) => Function.prototype.call.bind(Object.getOwnPropertyDescriptor(Object.getPrototypeOf(Uint8Array.prototype), name).get);
const lengthOf = inherent('length');
const kindOf = inherent(Symbol.toStringTag);
const isSmall = (view) => kindOf(view) === 'Uint8Array' && lengthOf(view) <= SLOT_BYTES;

/** Returns the blob of a row that was left in a slot. */
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

// The slot for the next small blob among the parameters of one run.
let next = ROW_SLOTS;

/** Is called before the first parameter of a run. */
function begin() {
	next = ROW_SLOTS;
}

/** Leaves a parameter that is a small blob, and returns what is to be passed in its place. */
function leave(value) {
	return typeof value === 'object' && value !== null ? leaveObject(value) : value;
}

function leaveObject(value) {
	// Native code looks at the parameters in their order. What is in an object may run anything when it is looked at, and other parameters
	// be left meanwhile: no blob after it is.
	if (!isView(value)) next = SLOTS;
	if (next === SLOTS || !isSmall(value)) return value;
	const length = lengthOf(value);
	lengths[next] = length;
	for (let k = 0, to = next * SLOT_BYTES; k < length; k += 1) bytes[to + k] = value[k];
	next += 1;
	return mark;
}

module.exports = { memory, mark, take, takeBytes, begin, leave };
