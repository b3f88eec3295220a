'use strict';
// Sessions: what was changed, as a changeset, and changesets applied to another database.

const { load } = require('../addon');
const { innerOf } = require('../inner');
const { checkBytes, checkFunction, checkOptions, checkString, option } = require('./check');
const { illegalConstructor, invalidState } = require('./errors');
const { show } = require('./statement');

const addon = load();
// Only `createSession` below makes sessions; it says so with this.
const TOKEN = {};

class Session {
	#inner;
	#connection;
	#handle;

	constructor(token, inner, handle) {
		if (token !== TOKEN) throw illegalConstructor();
		this.#inner = inner;
		this.#connection = inner.connection;
		this.#handle = handle;
	}

	/** Returns what the addon knows the session by, while it is open. */
	#open() {
		const { connection } = this.#inner;
		// A session ends with the connection that it is on.
		if (connection !== null && connection !== this.#connection) throw invalidState('session is not open');
		return this.#handle;
	}

	changeset() {
		return addon.nodeTakeChanges(this.#open(), false);
	}

	patchset() {
		return addon.nodeTakeChanges(this.#open(), true);
	}

	close() {
		addon.nodeCloseSession(this.#open(), true);
	}

	static {
		if (Symbol.dispose) {
			Session.prototype[Symbol.dispose] = function dispose() {
				addon.nodeCloseSession(this.#handle, false);
			};
		}
	}
}
show(Session);

function createSession(...given) {
	const inner = innerOf(this);
	if (inner.connection === null) throw invalidState('database is not open');
	const options = given.length === 0 ? {} : checkOptions(given[0]);
	const text = (name, otherwise) => (name in options ? checkString(options[name], `options.${name}`) : otherwise);
	const table = text('table', undefined);
	return new Session(TOKEN, inner, addon.nodeCreateSession(inner.connection.handle, text('db', 'main'), table));
}

function applyChangeset(changeset, options) {
	const { connection } = innerOf(this);
	if (connection === null) throw invalidState('database is not open');
	checkBytes(changeset, 'changeset');
	options = options === undefined ? {} : checkOptions(options);
	const onConflict = option(options, 'onConflict', checkFunction);
	const hasFilter = Object.prototype.hasOwnProperty.call(options, 'filter');
	const filter = hasFilter ? checkFunction(options.filter, 'options.filter') : undefined;
	const wants = filter && ((table) => Boolean(filter(table)));
	return addon.nodeApplyChangeset(connection.handle, changeset, wants, onConflict);
}

module.exports = { Session, createSession, applyChangeset };
