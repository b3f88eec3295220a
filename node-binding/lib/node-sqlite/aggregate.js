'use strict';
// database.aggregate(): an aggregate function of SQL, which with `inverse` can run over windows too.

const { load } = require('../addon');
const { innerOf } = require('../inner');
const { booleanOption, checkFunction, checkOptions, checkString } = require('./check');
const { invalidState, invalidType } = require('./errors');
const { flagsOf, lengthOf } = require('./function');

const addon = load();

module.exports = function aggregate(name, options) {
	const { connection } = innerOf(this);
	if (connection === null) throw invalidState('database is not open');
	checkString(name, 'name');
	checkOptions(options);
	const { start, step, result, inverse } = options;
	if (start === undefined) throw invalidType('The "options.start" argument must be a function or a primitive value.');
	checkFunction(step, 'options.step');
	const set = {
		deterministic: options.deterministic === true,
		useBigIntArguments: booleanOption(options, 'useBigIntArguments', false),
	};
	const varargs = booleanOption(options, 'varargs', false);
	set.directOnly = booleanOption(options, 'directOnly', false);
	if (inverse !== undefined) checkFunction(inverse, 'options.inverse');
	// The first argument of both is the state.
	let count = -1;
	if (!varargs) {
		const lengths = [lengthOf(step, 'options.step'), inverse ? lengthOf(inverse, 'options.inverse') : 0];
		count = Math.max(...lengths, 1) - 1;
	}
	addon.nodeDefineAggregate(connection.handle, name, count, flagsOf(set), start, step, inverse,
		typeof result === 'function' ? result : undefined);
};
