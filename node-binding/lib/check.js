'use strict';
// The checks of arguments and options that several methods share, with the original's words.

const ARGUMENTS_MAX = 100;

function checkString(value, which) {
	if (typeof value !== 'string') throw new TypeError(`Expected ${which} argument to be a string`);
}

function checkOptions(value, which) {
	if (typeof value !== 'object' || value === null) {
		throw new TypeError(`Expected ${which} argument to be an options object`);
	}
}

function booleanOption(options, name) {
	if (!(name in options)) return false;
	const value = options[name];
	if (typeof value !== 'boolean') throw new TypeError(`Expected the "${name}" option to be a boolean`);
	return value;
}

function functionOption(options, name, { isRequired }) {
	const value = name in options ? options[name] : undefined;
	if (typeof value === 'function') return value;
	if (value != null) throw new TypeError(`Expected the "${name}" option to be a function`);
	if (isRequired) throw new TypeError(`Missing required option "${name}"`);
	return undefined;
}

/** Returns how many arguments a function of the user's says it takes. */
function lengthOf(fn) {
	const { length } = fn;
	if (!Number.isInteger(length) || length < 0) throw new TypeError('Expected function.length to be a positive integer');
	return length;
}

/** Reads the options that all kinds of functions have. */
function readFunctionOptions({ safeIntegers }, options) {
	return {
		flags:
			(booleanOption(options, 'deterministic') ? 1 : 0) |
			(booleanOption(options, 'directOnly') ? 2 : 0) |
			(('safeIntegers' in options ? booleanOption(options, 'safeIntegers') : safeIntegers) ? 4 : 0),
		varargs: booleanOption(options, 'varargs'),
	};
}

function checkCount(count) {
	if (count > ARGUMENTS_MAX) throw new RangeError(`User-defined functions cannot have more than ${ARGUMENTS_MAX} arguments`);
	return count;
}

/** Returns the database that is meant: `main` unless `attached` names another. */
function attachedName(options) {
	const attached = 'attached' in options ? options.attached : 'main';
	if (typeof attached !== 'string') throw new TypeError('Expected the "attached" option to be a string');
	if (!attached) throw new TypeError('The "attached" option cannot be an empty string');
	return attached;
}

module.exports = {
	checkString,
	checkOptions,
	booleanOption,
	functionOption,
	lengthOf,
	readFunctionOptions,
	checkCount,
	attachedName,
};
