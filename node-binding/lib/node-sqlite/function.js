'use strict';
// database.function(): a function of SQL.

const { load } = require('../addon');
const { innerOf } = require('../inner');
const { booleanOption, checkFunction, checkOptions, checkString } = require('./check');
const { invalidState, invalidType } = require('./errors');

const addon = load();
const FLAGS = { deterministic: 1, directOnly: 2, useBigIntArguments: 4 };
// The addon's functions follow these rules, not better-sqlite3's.
const BY_NODES_RULES = 8;

/** Adds up the flags of options that are set. */
function flagsOf(set) {
	return Object.keys(FLAGS).reduce((flags, name) => (set[name] ? flags | FLAGS[name] : flags), BY_NODES_RULES);
}

/** Returns how many arguments a function of the user's says it takes. */
function lengthOf(fn, name) {
	if (!Number.isInteger(fn.length)) throw invalidType(`The "${name}.length" property must be an integer.`);
	return fn.length;
}

function defineFunction(name, ...rest) {
	const { connection } = innerOf(this);
	if (connection === null) throw invalidState('database is not open');
	checkString(name, 'name');
	const set = { deterministic: false, directOnly: false, useBigIntArguments: false };
	let varargs = false;
	if (rest.length > 1) {
		const options = checkOptions(rest[0]);
		set.useBigIntArguments = booleanOption(options, 'useBigIntArguments', false);
		varargs = booleanOption(options, 'varargs', false);
		set.deterministic = booleanOption(options, 'deterministic', false);
		set.directOnly = booleanOption(options, 'directOnly', false);
	}
	const fn = checkFunction(rest.length > 1 ? rest[1] : rest[0], 'function');
	const count = varargs ? -1 : lengthOf(fn, 'function');
	addon.nodeDefineFunction(connection.handle, name, count, flagsOf(set), fn);
}
Object.defineProperty(defineFunction, 'name', { value: 'function' });

module.exports = defineFunction;
module.exports.flagsOf = flagsOf;
module.exports.lengthOf = lengthOf;
