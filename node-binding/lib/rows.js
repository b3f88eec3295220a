'use strict';
// Compiles, for the columns of a statement, the two functions that make its rows.
//
// `one(...values)` makes a row; `many(array, ...values)` adds the rows that its values make to the array. An object literal with the
// columns' names gives all rows of a statement one hidden class, which no call from native code can do as fast. Small blobs are fetched
// from where native code has left them.

const { mark, take } = require('./blobs');

const MODES = { object: 0, pluck: 1, expand: 2, raw: 3 };
// Statements are prepared again and again; what was compiled for some columns serves all that have them.
const CACHED_MAX = 1000;
const cache = new Map();
let canCompile = true;

/** Returns the last column of each name: a later one replaces an earlier one in its place. */
function fields(names, indexes) {
	const last = new Map();
	names.forEach((name, index) => last.set(name, indexes[index]));
	return [...last].map(([name, index]) => `${JSON.stringify(name)}: v${index}`).join(', ');
}

/** Writes the row that is made of the variables v0, v1 and so on. */
function source(mode, indexes, names, tables) {
	if (mode === MODES.raw || mode === MODES.pluck) {
		const all = indexes.map((index) => `v${index}`).join(', ');
		return mode === MODES.raw ? `[${all}]` : all;
	}
	if (mode === MODES.object) return `{ ${fields(names, indexes)} }`;
	const groups = new Map();
	tables.forEach((table, index) => {
		if (!groups.has(table)) groups.set(table, []);
		groups.get(table).push(index);
	});
	const inner = [...groups].map(([table, members]) =>
		`${JSON.stringify(table)}: { ${fields(members.map((index) => names[index]), members)} }`);
	return `{ ${inner.join(', ')} }`;
}

function compile(mode, count, names, tables) {
	const indexes = Array.from({ length: count }, (_, index) => index);
	const row = source(mode, indexes, names, tables);
	const variables = indexes.map((index) => `v${index}`).join(', ');
	const values = indexes.map((index) => `v${index} = arguments[i + ${index}]`).join(', ');
	const blobs = indexes.map((index) => `if (v${index} === mark) v${index} = take(slot++);`).join(' ');
	return new Function('mark', 'take', `'use strict';
return [
	function (${variables}) { let slot = 0; ${blobs} return ${row}; },
	function (array) {
		let slot = 0;
		for (let i = 1, n = arguments.length; i < n; i += ${count}) { let ${values}; ${blobs} array.push(${row}); }
	},
];`)(mark, take);
}

/** The same without compiling: for a few rows, and where it is forbidden. */
function interpret(mode, count, names, tables) {
	const make = (values) => {
		if (mode === MODES.raw) return values;
		if (mode === MODES.pluck) return values[0];
		const row = {};
		if (mode === MODES.object) {
			for (let i = 0; i < count; i += 1) row[names[i]] = values[i];
			return row;
		}
		// A table may have the name of something that every object has.
		const groups = new Map();
		for (let i = 0; i < count; i += 1) {
			if (!groups.has(tables[i])) groups.set(tables[i], {});
			groups.get(tables[i])[names[i]] = values[i];
		}
		for (const [table, group] of groups) row[table] = group;
		return row;
	};
	const fetch = (values) => {
		let slot = 0;
		for (let i = 0; i < values.length; i += 1) if (values[i] === mark) values[i] = take(slot++);
		return values;
	};
	const one = (...values) => make(fetch(values));
	const many = (array, ...values) => {
		fetch(values);
		for (let i = 0; i < values.length; i += count) array.push(make(values.slice(i, i + count)));
	};
	return [one, many];
}

/** Called by the addon: the mode's number, how many values make a row, the columns' names and tables, whether many rows are made. */
module.exports = function makeRows(mode, count, names, tables, isHot) {
	const key = mode === MODES.raw || mode === MODES.pluck ? `${mode}:${count}` : `${mode}:${JSON.stringify([names, tables])}`;
	let made = cache.get(key);
	if (made) return made;
	if (!isHot) return interpret(mode, count, names, tables);
	if (canCompile) {
		try {
			made = compile(mode, count, names, tables);
		} catch (error) {
			// `--disallow-code-generation-from-strings` throws an EvalError; too many columns for a function, a SyntaxError.
			canCompile = !(error instanceof EvalError);
		}
	}
	made ??= interpret(mode, count, names, tables);
	if (cache.size >= CACHED_MAX) cache.clear();
	cache.set(key, made);
	return made;
};
