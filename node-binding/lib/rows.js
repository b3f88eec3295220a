'use strict';
// Compiles, for the columns of a statement, the two functions that make its rows.
//
// `one(...values)` makes a row; `many(array, ...values)` adds the rows that its values make to the array. An object literal with the
// columns' names gives all rows of a statement one hidden class, which no call from native code can do as fast.

const { canSetPrototype } = require('./bare');

const MODES = { object: 0, pluck: 1, expand: 2, raw: 3, bare: 4, bareRaw: 5 };
// Statements are prepared again and again; what was compiled for some columns serves all that have them.
const CACHED_MAX = 1000;
const cache = new Map();
let canCompile = true;

/** Returns the last column of each name: a later one replaces an earlier one in its place. */
function fields(names, offset) {
	const last = new Map();
	names.forEach((name, index) => last.set(name, offset(index)));
	return [...last].map(([name, value]) => `${JSON.stringify(name)}: ${value}`).join(', ');
}

function source(mode, count, names, tables, offset) {
	if (mode === MODES.raw) return `[${Array.from({ length: count }, (_, index) => offset(index)).join(', ')}]`;
	if (mode === MODES.object) return `{ ${fields(names, offset)} }`;
	const groups = new Map();
	tables.forEach((table, index) => {
		if (!groups.has(table)) groups.set(table, []);
		groups.get(table).push(index);
	});
	const inner = [...groups].map(([table, indexes]) =>
		`${JSON.stringify(table)}: { ${fields(indexes.map((index) => names[index]), (index) => offset(indexes[index]))} }`);
	return `{ ${inner.join(', ')} }`;
}

/** Returns the statements that make an object without prototype, as `row`. */
function bareSource(names, offset) {
	const last = new Map();
	names.forEach((name, index) => last.set(name, offset(index)));
	const fields = [...last].map(([name, value]) => [JSON.stringify(name), value]);
	// Such an object is slow from the start as a literal, and fast when it loses its prototype before it gets fields.
	return canSetPrototype
		? `const row = {}; row.__proto__ = null; ${fields.map(([name, value]) => `row[${name}] = ${value};`).join(' ')}`
		: `const row = { __proto__: null, ${fields.map(([name, value]) => `[${name}]: ${value}`).join(', ')} };`;
}

function compileBare(count, names) {
	const one = bareSource(names, (index) => `v${index}`);
	const many = bareSource(names, (index) => `arguments[i + ${index}]`);
	const parameters = Array.from({ length: count }, (_, index) => `v${index}`).join(', ');
	return new Function(`'use strict';
return [
	function (${parameters}) { ${one} return row; },
	function (array) { for (let i = 1, n = arguments.length; i < n; i += ${count}) { ${many} array.push(row); } },
];`)();
}

function compile(mode, count, names, tables) {
	if (mode === MODES.bare) return compileBare(count, names);
	const one = source(mode, count, names, tables, (index) => `v${index}`);
	const many = source(mode, count, names, tables, (index) => (index === 0 ? 'arguments[i]' : `arguments[i + ${index}]`));
	const parameters = Array.from({ length: count }, (_, index) => `v${index}`).join(', ');
	return new Function(`'use strict';
return [
	function (${parameters}) { return ${one}; },
	function (array) { for (let i = 1, n = arguments.length; i < n; i += ${count}) array.push(${many}); },
];`)();
}

/** The same without compiling: for a few rows, and where it is forbidden. */
function interpret(mode, count, names, tables) {
	const one = (...values) => {
		if (mode === MODES.raw) return values;
		const row = mode === MODES.bare ? Object.create(null) : {};
		if (mode === MODES.object || mode === MODES.bare) {
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
	const many = (array, ...values) => {
		for (let i = 0; i < values.length; i += count) array.push(one(...values.slice(i, i + count)));
	};
	return [one, many];
}

function pluck() {
	return [
		(value) => value,
		function (array) {
			for (let i = 1, n = arguments.length; i < n; i += 1) array.push(arguments[i]);
		},
	];
}

/** Called by the addon: the mode's number, how many values make a row, the columns' names and tables, whether many rows are made. */
module.exports = function makeRows(mode, count, names, tables, isHot) {
	if (mode === MODES.bareRaw) mode = MODES.raw;
	const key = mode === MODES.raw || mode === MODES.pluck ? `${mode}:${count}` : `${mode}:${JSON.stringify([names, tables])}`;
	let made = cache.get(key);
	if (made) return made;
	if (!isHot && mode !== MODES.pluck) return interpret(mode, count, names, tables);
	if (mode === MODES.pluck) {
		made = pluck();
	} else {
		if (canCompile) {
			try {
				made = compile(mode, count, names, tables);
			} catch (error) {
				// `--disallow-code-generation-from-strings` throws an EvalError; too many columns for a function, a SyntaxError.
				canCompile = !(error instanceof EvalError);
			}
		}
		made ??= interpret(mode, count, names, tables);
	}
	if (cache.size >= CACHED_MAX) cache.clear();
	cache.set(key, made);
	return made;
};
