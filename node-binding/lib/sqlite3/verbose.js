'use strict';
// Long stack traces: an error that a callback is given also tells where the method was called.

const { inspect } = require('util');

/** Returns the lines of a stack that are not of this file. */
function linesOf({ stack }) {
	return stack.split('\n').filter((line) => !line.includes(__filename));
}

/** Has a method of a class note where it is called. */
function trace(prototype, name) {
	const method = prototype[name];
	prototype[name] = function (...given) {
		const called = new Error();
		const callback = given[given.length - 1];
		if (typeof callback === 'function') {
			const shown = given.map((value) => inspect(value, false, 0)).join(', ');
			given[given.length - 1] = function (...answer) {
				const [error] = answer;
				if (error?.stack && !error.__augmented) {
					const where = `--> in ${prototype.constructor.name}#${name}(${shown})`;
					error.stack = [...linesOf(error), where, ...linesOf(called).slice(1)].join('\n');
					error.__augmented = true;
				}
				return callback.apply(this, answer);
			};
		}
		return method.apply(this, given);
	};
}

module.exports = function makeVerbose({ Database, Statement }) {
	const ofDatabase = ['prepare', 'get', 'run', 'all', 'each', 'map', 'close', 'exec'];
	const ofStatement = ['bind', 'get', 'run', 'all', 'each', 'map', 'reset', 'finalize'];
	for (const name of ofDatabase) trace(Database.prototype, name);
	for (const name of ofStatement) trace(Statement.prototype, name);
};
