'use strict';
// database.createModule(): virtual tables whose rows an iterable yields.

const { load } = require('../addon');
const { innerOf } = require('../inner');
const { booleanOption, checkFunction, checkOptions, checkString, isObject } = require('./check');
const { invalidState, invalidType, invalidValue } = require('./errors');

const addon = load();
const TYPES = ['INTEGER', 'TEXT', 'REAL', 'BLOB', 'ANY'];

function readColumn(column) {
	if (!isObject(column)) throw invalidType('Each column in "options.columns" must be an object.');
	const { name, type, hidden = false } = column;
	if (typeof name !== 'string') throw invalidType('The column "name" property must be a string.');
	if (typeof type !== 'string') throw invalidType('The column "type" property must be a string.');
	if (!TYPES.includes(type)) {
		throw invalidValue(`The column "type" property must be one of 'INTEGER', 'TEXT', 'REAL', 'BLOB', or 'ANY'.`);
	}
	if (typeof hidden !== 'boolean') throw invalidType('The column "hidden" property must be a boolean.');
	return { name, type, hidden };
}

/** Returns a function that begins to read: functions for the next row and the end, or what is wrong as text. */
function reader(rows, width) {
	return (...given) => {
		const iterable = rows(...given);
		if (!isObject(iterable)) return 'The "options.rows" function must return an iterable object';
		// What is no iterable may be an iterator.
		const isIterable = typeof iterable[Symbol.iterator] === 'function';
		const iterator = isIterable ? iterable[Symbol.iterator]() : iterable;
		if (!isObject(iterator)) return 'The "options.rows" iterable\'s Symbol.iterator method must return an object';
		if (typeof iterator.next !== 'function') return 'The "options.rows" iterator must have a next() method';
		let isAtEnd = false;
		const next = () => {
			const step = iterator.next();
			if (!isObject(step)) return 'The "options.rows" iterator\'s next() method must return an object';
			if (step.done) {
				isAtEnd = true;
				return undefined;
			}
			const row = Array.isArray(step.value) ? step.value : [];
			return Array.from({ length: width }, (_, index) => row[index]);
		};
		const end = () => {
			if (!isAtEnd && typeof iterator.return === 'function') iterator.return();
		};
		return [next, end];
	};
}

module.exports = function createModule(name, options) {
	const { connection } = innerOf(this);
	if (connection === null) throw invalidState('database is not open');
	checkString(name, 'name');
	checkOptions(options);
	if (!Array.isArray(options.columns)) throw invalidType('The "options.columns" argument must be an array.');
	if (options.columns.length === 0) throw invalidValue('The "options.columns" array must not be empty.');
	const rows = checkFunction(options.rows, 'options.rows');
	const directOnly = booleanOption(options, 'directOnly', false);
	const useBigIntArguments = booleanOption(options, 'useBigIntArguments', false);
	const all = Array.from(options.columns, readColumn);
	const [shown, hidden] = [all.filter((column) => !column.hidden), all.filter((column) => column.hidden)];
	const names = (columns) => columns.map((column) => column.name);
	const types = [...shown, ...hidden].map(({ type }) => type);
	addon.nodeDefineTable(connection.handle, name, names(shown), names(hidden), types, useBigIntArguments, directOnly,
		reader(rows, shown.length));
};
