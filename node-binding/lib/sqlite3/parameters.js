'use strict';
// The forms in which parameters are given: one by one, as an array, as an object of names.

// More than SQLite has parameters, and less than a call has room for.
const VALUES_MAX = 40000;
const NONE = { places: undefined, values: [] };

/** Takes the callback off the end of some arguments. */
function takeCallback(given) {
	return typeof given[given.length - 1] === 'function' ? given.pop() : undefined;
}

/** Reads parameters: their values, and the places that an object names. */
function readParameters(given) {
	if (given.length === 0) return NONE;
	const [first] = given;
	if (Array.isArray(first)) return { places: undefined, values: first.length > VALUES_MAX ? first.slice(0, VALUES_MAX) : first };
	const isObject = typeof first === 'function' || (typeof first === 'object' && first !== null);
	if (!isObject || ArrayBuffer.isView(first) || first instanceof Date || first instanceof RegExp) {
		return { places: undefined, values: given };
	}
	const places = [];
	const values = [];
	// Inherited names count, too.
	for (const name in first) {
		const number = Number(name);
		places.push((number | 0) === number && number > 0 ? number : name);
		values.push(first[name]);
	}
	return { places, values };
}

/** Returns parameters as they are now, for a use that comes later. */
function keepParameters({ places, values }) {
	return { places, values: values.map(keep) };
}

function keep(value) {
	if (ArrayBuffer.isView(value)) return Buffer.from(Buffer.from(value.buffer, value.byteOffset, value.byteLength));
	if (value instanceof Date) return new Date(value);
	if (typeof value === 'bigint' && BigInt.asIntN(64, value) !== value) {
		throw new RangeError('The bound bigint has more than 64 bits');
	}
	return value;
}

module.exports = { takeCallback, readParameters, keepParameters };
