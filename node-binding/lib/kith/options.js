'use strict';
// The options of db.kith: every one is known by name, and of the kind it must be.

const { types } = require('util');

const UNITS_MS = { s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000, w: 604_800_000 };
const EXPIRES_MAX_MS = 10 * 366 * UNITS_MS.d;
const MILLISECONDS_MAX = 0xffffffff;

const kinds = {
	boolean: (value) => typeof value === 'boolean',
	string: (value) => typeof value === 'string',
	strings: (value) => Array.isArray(value) && value.every((one) => typeof one === 'string'),
	milliseconds: (value) => Number.isInteger(value) && value >= 0 && value <= MILLISECONDS_MAX,
	place: (value) =>
		typeof value === 'boolean' || typeof value === 'string' || kinds.strings(value) ||
		(Number.isInteger(value) && value > 0 && value < 65536),
	role: (value) => value === 'writer' || value === 'owner',
	moment: () => true,
	count: (value) => Number.isInteger(value) && value > 0,
	share: (value) => typeof value === 'number' && value >= 0 && value <= 1,
	object: (value) => typeof value === 'object' && value !== null && !Array.isArray(value),
	embedding: (value) => types.isFloat32Array(value) || types.isUint8Array(value) ||
		(Array.isArray(value) && value.every((one) => typeof one === 'number')),
	match: (value) => value === 'any' || value === 'all',
};
const described = {
	boolean: 'a boolean',
	string: 'a string',
	strings: 'an array of strings',
	milliseconds: 'a number of milliseconds',
	place: 'a boolean, "loopback", a port, an address, or an array of addresses',
	role: '"writer" or "owner"',
	count: 'a whole number above 0',
	share: 'a number from 0 to 1',
	object: 'an object',
	embedding: 'a Float32Array, an array of numbers, or a Buffer or Uint8Array of 32-bit floats',
	match: '"any" or "all"',
};

/** Checks the options of a method against those it knows, and returns a copy of those that are given. */
function readOptions(method, given, known) {
	if (typeof given !== 'object' || given === null) throw new TypeError(`db.kith.${method} takes an options object`);
	const read = {};
	for (const [name, value] of Object.entries(given)) {
		if (!Object.hasOwn(known, name)) {
			throw new TypeError(`db.kith.${method} has no option "${name}"; it has ${Object.keys(known).join(', ')}`);
		}
		if (value === undefined) continue;
		const kind = known[name];
		if (!kinds[kind](value)) throw new TypeError(`Expected the "${name}" option of db.kith.${method} to be ${described[kind]}`);
		read[name] = value;
	}
	return read;
}

/** Returns when something expires, in milliseconds of the epoch: given as a Date, as milliseconds from now, or as '30m', '12h', '7d'. */
function readExpires(value) {
	if (value instanceof Date && !Number.isNaN(value.getTime())) return value.getTime();
	const [, count, unit] = /^(\d+)([smhdw])$/.exec(typeof value === 'string' ? value : '') ?? [];
	const ms = unit === undefined ? value : count * UNITS_MS[unit];
	if (typeof ms !== 'number' || !(ms > 0 && ms <= EXPIRES_MAX_MS)) {
		throw new TypeError('Expected the "expires" option of db.kith.invite to be a Date, a number of milliseconds, or a text such as 30m, 12h or 7d, of at most ten years');
	}
	return Math.floor(Date.now() + ms);
}

module.exports = { readOptions, readExpires };
