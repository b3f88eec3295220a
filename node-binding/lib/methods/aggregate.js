'use strict';
// db.aggregate(): an aggregate function of SQL, which with `inverse` can run over windows too.

const { innerOf } = require('../inner');
const { checkString, checkOptions, functionOption, readFunctionOptions, checkCount, lengthOf } = require('../check');

module.exports = function defineAggregate(name, options) {
	checkString(name, 'first');
	checkOptions(options, 'second');
	if (!name) throw new TypeError('User-defined function name cannot be an empty string');
	const start = 'start' in options ? options.start : null;
	const step = functionOption(options, 'step', { isRequired: true });
	const inverse = functionOption(options, 'inverse', { isRequired: false });
	const result = functionOption(options, 'result', { isRequired: false });
	const { flags, varargs } = readFunctionOptions(innerOf(this), options);
	// The first argument of both is the state.
	const count = varargs ? -1 : checkCount(Math.max(lengthOf(step), inverse ? lengthOf(inverse) : 0, 1) - 1);
	const { addon, handle } = innerOf(this);
	addon.defineAggregate(handle, name, count, flags, start, step, inverse, result);
	return this;
};
