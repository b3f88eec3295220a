'use strict';
// The checks of arguments and options that several methods share, with the original's words.

const { invalidType, invalidUrlScheme } = require('./errors');

const INT32_MAX = 0x7fffffff;

function isObject(value) {
	return value !== null && (typeof value === 'object' || typeof value === 'function');
}

function checkString(value, name) {
	if (typeof value !== 'string') throw invalidType(`The "${name}" argument must be a string.`);
	return value;
}

function checkBoolean(value, name) {
	if (typeof value !== 'boolean') throw invalidType(`The "${name}" argument must be a boolean.`);
	return value;
}

function checkFunction(value, name) {
	if (typeof value !== 'function') throw invalidType(`The "${name}" argument must be a function.`);
	return value;
}

function checkOptions(value) {
	if (!isObject(value)) throw invalidType('The "options" argument must be an object.');
	return value;
}

function checkBytes(value, name) {
	if (!(value instanceof Uint8Array)) throw invalidType(`The "${name}" argument must be a Uint8Array.`);
	return value;
}

/** Returns an option, or what stands for one that is not given. */
function option(options, name, check, otherwise) {
	const value = options[name];
	return value === undefined ? otherwise : check(value, `options.${name}`);
}

const booleanOption = (options, name, otherwise) => option(options, name, checkBoolean, otherwise);

function isInt32(value) {
	return Number.isInteger(value) && value >= -INT32_MAX - 1 && value <= INT32_MAX;
}

function checkInteger(value, name) {
	if (!isInt32(value)) throw invalidType(`The "${name}" argument must be an integer.`);
	return value;
}

/** Returns the name under which SQLite opens a path: text, bytes, or a URL, which stays an address. */
function checkPath(value) {
	let text;
	if (typeof value === 'string') {
		text = value;
	} else if (value instanceof Uint8Array) {
		text = Buffer.from(value.buffer, value.byteOffset, value.byteLength).toString();
	} else if (isObject(value) && typeof value.href === 'string') {
		if (value.protocol !== 'file:') throw invalidUrlScheme();
		text = value.href;
	}
	if (text === undefined || text.includes('\0')) {
		throw invalidType('The "path" argument must be a string, Uint8Array, or URL without null bytes.');
	}
	return text;
}

module.exports = {
	INT32_MAX,
	isObject,
	isInt32,
	checkString,
	checkBoolean,
	checkFunction,
	checkOptions,
	checkBytes,
	checkInteger,
	checkPath,
	option,
	booleanOption,
};
