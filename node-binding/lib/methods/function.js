'use strict';
// db.function(): a function of SQL.

const { innerOf } = require('../inner');
const { checkString, readFunctionOptions, checkCount, lengthOf } = require('../check');

module.exports = function defineFunction(name, options, fn) {
	options ??= {};
	if (typeof options === 'function') {
		fn = options;
		options = {};
	}
	checkString(name, 'first');
	if (typeof fn !== 'function') throw new TypeError('Expected last argument to be a function');
	if (typeof options !== 'object') throw new TypeError('Expected second argument to be an options object');
	if (!name) throw new TypeError('User-defined function name cannot be an empty string');
	const { flags, varargs } = readFunctionOptions(innerOf(this), options);
	const count = varargs ? -1 : checkCount(lengthOf(fn));
	const { addon, handle } = innerOf(this);
	addon.defineFunction(handle, name, count, flags, fn);
	return this;
};
