'use strict';
// database.limits: what SQLite refuses beyond a size.

const { load } = require('../addon');
const { INT32_MAX, checkInteger, isInt32, isObject } = require('./check');
const { invalidType, outOfRange } = require('./errors');

const addon = load();
// In the order of the addon's numbers.
const NAMES = ['length', 'sqlLength', 'column', 'exprDepth', 'compoundSelect', 'vdbeOp', 'functionArg', 'attach',
	'likePatternLength', 'variableNumber', 'triggerDepth'];

/** Reads the option: a number for each limit, -1 for one that stays. */
function readLimits(option) {
	if (option === undefined) return NAMES.map(() => -1);
	if (!isObject(option)) throw invalidType('The "options.limits" argument must be an object.');
	return NAMES.map((name) => {
		const value = option[name];
		if (value === undefined) return -1;
		checkInteger(value, `options.limits.${name}`);
		if (value < 0) throw outOfRange(`The "options.limits.${name}" argument must be non-negative.`);
		return value;
	});
}

function checkLimit(value) {
	if (value === Infinity) return INT32_MAX;
	if (!isInt32(value)) throw invalidType('Limit value must be a non-negative integer or Infinity.');
	if (value < 0) throw outOfRange('Limit value must be non-negative.');
	return value;
}

/** Makes the object whose properties are the limits of a connection; those that are set go into `lowered`, for the next one. */
function limitsOf(handle, lowered) {
	const limits = {};
	NAMES.forEach((name, number) => {
		Object.defineProperty(limits, name, {
			get: () => addon.nodeLimit(handle(), number),
			set: (value) => {
				const open = handle();
				const limit = checkLimit(value);
				addon.nodeLimit(open, number, limit);
				lowered[number] = limit;
			},
			enumerable: true,
		});
	});
	return limits;
}

module.exports = { limitsOf, readLimits };
