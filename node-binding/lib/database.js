'use strict';
// The class `Database`: opening, and what is done with a whole connection.

const { constants } = require('buffer');
const fs = require('fs');
const path = require('path');
const { inspect } = require('util');
const { load } = require('./addon');
const { booleanOption, checkOptions, checkString } = require('./check');
const { setInner, innerOf: of } = require('./inner');
const prepare = require('./statement');
const SqliteError = require('./sqlite-error');
const Kith = require('./kith');

const TIMEOUT_MAX = 0x7fffffff;

function Database(filenameGiven, options) {
	if (new.target == null) return new Database(filenameGiven, options);

	let buffer;
	if (Buffer.isBuffer(filenameGiven)) {
		buffer = filenameGiven;
		filenameGiven = ':memory:';
	}
	filenameGiven ??= '';
	options ??= {};
	checkString(filenameGiven, 'first');
	checkOptions(options, 'second');
	if ('readOnly' in options) throw new TypeError('Misspelled option "readOnly" should be "readonly"');
	if ('memory' in options) throw new TypeError('Option "memory" was removed in v7.0.0 (use ":memory:" filename instead)');

	const filename = filenameGiven.trim();
	const isAnonymous = filename === '' || filename === ':memory:';
	const readonly = booleanOption(options, 'readonly');
	const fileMustExist = booleanOption(options, 'fileMustExist');
	const timeout = 'timeout' in options ? options.timeout : 5000;
	const verbose = 'verbose' in options ? options.verbose : null;
	const nativeBinding = 'nativeBinding' in options ? options.nativeBinding : null;

	if (readonly && isAnonymous && !buffer) throw new TypeError('In-memory/temporary databases cannot be readonly');
	if (!Number.isInteger(timeout) || timeout < 0) {
		throw new TypeError('Expected the "timeout" option to be a positive integer');
	}
	if (timeout > TIMEOUT_MAX) throw new RangeError(`Option "timeout" cannot be greater than ${TIMEOUT_MAX}`);
	if (verbose != null && typeof verbose !== 'function') {
		throw new TypeError('Expected the "verbose" option to be a function');
	}
	if (nativeBinding != null && typeof nativeBinding !== 'string' && typeof nativeBinding !== 'object') {
		throw new TypeError('Expected the "nativeBinding" option to be a string or addon object');
	}
	const addon = load(nativeBinding);
	if (!isAnonymous && !filename.startsWith('file:') && !fs.existsSync(path.dirname(filename))) {
		throw new TypeError('Cannot open database because the directory does not exist');
	}

	const handle = addon.open(buffer ?? filename, readonly, fileMustExist || readonly, timeout, verbose ?? undefined, constants.MAX_STRING_LENGTH);
	setInner(this, { addon, handle, safeIntegers: false, kith: undefined, atClose: undefined, transactions: undefined });
	// Each getter is named after its property.
	const getters = {
		name: () => filenameGiven,
		open: () => addon.isOpen(handle),
		inTransaction: () => addon.inTransaction(handle),
		readonly: () => readonly,
		memory: () => isAnonymous,
	};
	for (const key of Object.keys(getters)) Object.defineProperty(this, key, { get: getters[key], enumerable: true });
}

const methods = {
	prepare(sql) {
		const { addon, handle, safeIntegers } = of(this);
		return prepare(this, addon, handle, sql, safeIntegers);
	},

	transaction: require('./methods/transaction'),
	pragma: require('./methods/pragma'),

	explain(sql) {
		const { addon, handle, safeIntegers } = of(this);
		checkString(sql, 'first');
		return addon.explain(handle, `EXPLAIN ${sql}`, safeIntegers);
	},

	backup: require('./methods/backup'),
	serialize: require('./methods/serialize'),
	function: require('./methods/function'),
	aggregate: require('./methods/aggregate'),
	table: require('./methods/table'),

	loadExtension(...given) {
		const { addon, handle } = of(this);
		const [file, entryPoint] = given;
		checkString(file, 'first');
		if (given.length > 1) checkString(entryPoint, 'second');
		addon.loadExtension(handle, file, entryPoint);
		return this;
	},

	exec(sql) {
		const { addon, handle } = of(this);
		checkString(sql, 'first');
		addon.exec(handle, sql);
		return this;
	},

	close() {
		const { addon, handle, atClose } = of(this);
		addon.close(handle);
		atClose?.();
		return this;
	},

	defaultSafeIntegers(...given) {
		const found = of(this);
		found.safeIntegers = flag(given);
		return this;
	},

	unsafeMode(...given) {
		const { addon, handle } = of(this);
		addon.unsafeMode(handle, flag(given));
		return this;
	},

	[inspect.custom](depth, options) {
		return new Inspected(this, options);
	},
};

function flag(given) {
	if (given.length === 0) return true;
	if (typeof given[0] !== 'boolean') throw new TypeError('Expected first argument to be a boolean');
	return given[0];
}

/** What `util.inspect` shows: the properties, without what is behind them. */
function Inspected(database) {
	Object.assign(this, database);

}
Object.defineProperty(Inspected, 'name', { value: 'Database' });

for (const key of Reflect.ownKeys(methods)) {
	Object.defineProperty(Database.prototype, key, {
		value: methods[key], writable: true, enumerable: true, configurable: true,
	});
}
Object.defineProperty(methods[inspect.custom], 'name', { value: 'inspect' });

// What goes beyond the drop-in has one name, and stays out of sight.
Object.defineProperty(Database.prototype, 'kith', {
	get() {
		const found = of(this);
		return (found.kith ??= new Kith(this, found));
	},
	enumerable: false,
	configurable: true,
});

module.exports = Database;
module.exports.SqliteError = SqliteError;
