'use strict';
// db.table(): virtual tables whose rows a generator yields.

const { innerOf } = require('../inner');
const { checkString, lengthOf } = require('../check');

const PARAMETERS_MAX = 32;
const GeneratorFunctionPrototype = Object.getPrototypeOf(function* () {});

module.exports = function defineTable(name, definition) {
	checkString(name, 'first');
	if (!name) throw new TypeError('Virtual table module name cannot be an empty string');
	const { addon, handle, safeIntegers } = innerOf(this);
	if (typeof definition === 'function') {
		const make = definition;
		addon.defineModule(handle, name, (module, database, table, ...given) => {
			const made = Reflect.apply(make, { module, database, table }, given);
			if (typeof made !== 'object' || made === null) {
				throw new TypeError(`Virtual table module "${module}" did not return a table definition object`);
			}
			return parse(made, 'returned', module, safeIntegers);
		});
	} else if (typeof definition === 'object' && definition !== null) {
		addon.defineTable(handle, name, parse(definition, 'used', name, safeIntegers));
	} else {
		throw new TypeError('Expected second argument to be a function or a table definition object');
	}
	return this;
};

/** Checks a definition and returns what the addon wants of it. */
function parse(definition, verb, module, safeIntegers) {
	const says = `Virtual table module "${module}" ${verb} a table definition`;
	const has = (property) => Object.prototype.hasOwnProperty.call(definition, property);
	const invalid = (property, should) => new TypeError(`${says} with an invalid "${property}" property (should be ${should})`);
	for (const property of ['rows', 'columns']) {
		if (!has(property)) throw new TypeError(`${says} without a "${property}" property`);
	}
	const { rows, columns } = definition;
	if (typeof rows !== 'function' || Object.getPrototypeOf(rows) !== GeneratorFunctionPrototype) {
		throw invalid('rows', 'a generator function');
	}
	const areNames = (names) => Array.isArray(names) && names.every((name) => typeof name === 'string');
	if (!areNames(columns)) throw invalid('columns', 'an array of strings');
	if (new Set(columns).size !== columns.length) throw new TypeError(`${says} with duplicate column names`);
	if (columns.length === 0) throw new RangeError(`${says} with zero columns`);

	let parameters;
	if (has('parameters')) {
		parameters = definition.parameters;
		if (!areNames(parameters)) throw invalid('parameters', 'an array of strings');
	} else {
		parameters = Array.from({ length: lengthOf(rows) }, (_, index) => `$${index + 1}`);
	}
	if (new Set(parameters).size !== parameters.length) throw new TypeError(`${says} with duplicate parameter names`);
	if (parameters.length > PARAMETERS_MAX) {
		throw new RangeError(`${says} with more than the maximum number of ${PARAMETERS_MAX} parameters`);
	}
	for (const parameter of parameters) {
		if (columns.includes(parameter)) {
			throw new TypeError(`${says} with column "${parameter}" which was ambiguously defined as both a column and parameter`);
		}
	}
	let isSafe = safeIntegers;
	if (has('safeIntegers')) {
		isSafe = definition.safeIntegers;
		if (typeof isSafe !== 'boolean') throw invalid('safeIntegers', 'a boolean');
	}
	const isDirectOnly = has('directOnly') ? definition.directOnly : false;
	if (typeof isDirectOnly !== 'boolean') throw invalid('directOnly', 'a boolean');
	// Copied, for the program may change its own.
	const own = columns.slice();
	return [own, parameters.slice(), isSafe, isDirectOnly, (...given) => reader(rows(...given), own, module)];
}

/** Returns a function that returns the next row as an array of its columns. */
function reader(rows, columns, module) {
	const iterator = rows[Symbol.iterator]();
	return () => {
		const { done, value: row } = iterator.next();
		if (done) return undefined;
		if (Array.isArray(row)) {
			if (row.length !== columns.length) {
				throw new TypeError(`Virtual table module "${module}" yielded a row with an incorrect number of columns`);
			}
			return row;
		}
		if (typeof row !== 'object' || row === null) {
			throw new TypeError(`Virtual table module "${module}" yielded something that isn't a valid row object`);
		}
		const keys = Object.keys(row);
		for (const key of keys) {
			if (!columns.includes(key)) {
				throw new TypeError(`Virtual table module "${module}" yielded a row with an undeclared column "${key}"`);
			}
		}
		if (keys.length !== columns.length) {
			throw new TypeError(`Virtual table module "${module}" yielded a row with missing columns`);
		}
		return columns.map((column) => row[column]);
	};
}
