'use strict';
// db.pragma(): a PRAGMA's rows, or with `simple` its first value.

const { innerOf } = require('../inner');
const { checkString, checkOptions, booleanOption } = require('../check');
const prepare = require('../statement');

module.exports = function pragma(source, options) {
	options ??= {};
	checkString(source, 'first');
	checkOptions(options, 'second');
	const simple = booleanOption(options, 'simple');
	const { addon, handle, safeIntegers } = innerOf(this);
	addon.checkIdle(handle);
	const statement = prepare(this, addon, handle, `PRAGMA ${source}`, safeIntegers);
	if (!statement.reader) {
		statement.run();
		return simple ? undefined : [];
	}
	if (!simple) return statement.all();
	const rows = statement.pluck().all();
	return rows[0];
};
