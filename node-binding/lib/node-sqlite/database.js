'use strict';
// The class `Database`: opening, and what is done with a whole connection.

const { load } = require('../addon');
const { setInner, innerOf } = require('../inner');
const check = require('./check');
const { invalidState, invalidType, invalidValue, newIsMissing } = require('./errors');
const { prepare, show } = require('./statement');
const { limitsOf, readLimits } = require('./limits');
const kithOf = require('./kith');

const addon = load();

/** Returns the open connection of what is behind a database. */
function connectionOf(inner) {
	if (inner.connection === null) throw invalidState('database is not open');
	return inner.connection;
}

function Database(path, options) {
	if (new.target === undefined) throw newIsMissing();
	const name = check.checkPath(path);
	options = arguments.length < 2 ? {} : check.checkOptions(options);
	const option = (key, otherwise) => check.booleanOption(options, key, otherwise);
	const opensNow = option('open', true);
	const inner = {
		name,
		connection: null,
		readOnly: option('readOnly', false),
		foreignKeys: option('enableForeignKeyConstraints', true),
		quotedStrings: option('enableDoubleQuotedStringLiterals', false),
		allowsExtensions: option('allowExtension', false),
		timeout: check.option(options, 'timeout', check.checkInteger, 0),
		settings: {
			readBigInts: option('readBigInts', false),
			returnArrays: option('returnArrays', false),
			allowBareNamedParameters: option('allowBareNamedParameters', true),
			allowUnknownNamedParameters: option('allowUnknownNamedParameters', false),
		},
		defensive: option('defensive', true),
		lowered: readLimits(options.limits),
		authorizer: null,
		limits: undefined,
		kith: undefined,
	};
	inner.loadsExtensions = inner.allowsExtensions;
	const getters = {
		isOpen: () => inner.connection !== null,
		isTransaction: () => addon.inTransaction(connectionOf(inner).handle),
		limits: () => (inner.limits ??= limitsOf(() => connectionOf(inner).handle, inner.lowered)),
	};
	for (const key of Object.keys(getters)) Object.defineProperty(this, key, { get: getters[key], enumerable: true });
	// Tells libraries whose database it is.
	this[Symbol.for('sqlite-type')] = 'node:sqlite';
	setInner(this, inner);
	if (opensNow) open(inner);
}

function open(inner) {
	if (inner.connection !== null) throw invalidState('database is already open');
	const handle = addon.nodeOpen(inner.name, inner.readOnly, inner.timeout, inner.foreignKeys, inner.quotedStrings,
		inner.defensive, inner.lowered);
	// The epoch is another as soon as the statements that were prepared are finalized.
	inner.connection = { handle, epoch: 0, backups: new Set() };
	if (inner.authorizer !== null) addon.nodeSetAuthorizer(handle, inner.authorizer);
}

function close(inner) {
	const connection = connectionOf(inner);
	addon.nodeCheckIdle(connection.handle);
	// What is being copied is copied to its end, as the connection would not be gone before that.
	for (const backup of connection.backups) backup.complete();
	addon.nodeClose(connection.handle);
	inner.kith?.end();
	connection.epoch += 1;
	inner.connection = null;
}

const methods = {
	open() {
		open(innerOf(this));
	},

	close() {
		close(innerOf(this));
	},

	prepare(sql, options) {
		const { connection, settings } = innerOf(this);
		if (connection === null) throw invalidState('database is not open');
		check.checkString(sql, 'sql');
		if (options === undefined) return prepare(connection, sql, settings);
		check.checkOptions(options);
		const own = {};
		for (const key of Object.keys(settings)) own[key] = check.booleanOption(options, key, settings[key]);
		// SQLite is told that statements are kept, whatever is said here: it is a hint that nothing shows.
		check.booleanOption(options, 'persistent', false);
		return prepare(connection, sql, own);
	},

	exec(sql) {
		const { handle } = connectionOf(innerOf(this));
		addon.nodeExec(handle, check.checkString(sql, 'sql'));
	},

	function: require('./function'),
	createTagStore: require('./tag-store'),

	location(dbName) {
		const { handle } = connectionOf(innerOf(this));
		return addon.nodeLocation(handle, dbName === undefined ? 'main' : check.checkString(dbName, 'dbName'));
	},

	aggregate: require('./aggregate'),
	createSession: require('./session').createSession,
	applyChangeset: require('./session').applyChangeset,

	enableLoadExtension(allow) {
		const inner = innerOf(this);
		const { handle } = connectionOf(inner);
		check.checkBoolean(allow, 'allow');
		addon.nodeCheck(handle);
		if (allow && !inner.allowsExtensions) {
			throw invalidState('Cannot enable extension loading because it was disabled at database creation.');
		}
		inner.loadsExtensions = allow;
	},

	enableDefensive(active) {
		const inner = innerOf(this);
		const { handle } = connectionOf(inner);
		addon.nodeSetDefensive(handle, check.checkBoolean(active, 'active'));
		inner.defensive = active;
	},

	loadExtension(path, entryPoint) {
		const inner = innerOf(this);
		const { handle } = connectionOf(inner);
		if (!inner.loadsExtensions) throw invalidState('extension loading is not allowed');
		addon.nodeLoadExtension(handle, check.checkString(path, 'path'), entryPoint);
	},

	serialize(dbName) {
		const { handle } = connectionOf(innerOf(this));
		return addon.nodeSerialize(handle, dbName === undefined ? 'main' : check.checkString(dbName, 'dbName'));
	},

	deserialize(buffer, options) {
		const connection = connectionOf(innerOf(this));
		check.checkBytes(buffer, 'buffer');
		if (buffer.length === 0) throw invalidValue('The "buffer" argument must not be empty.');
		const { dbName = 'main' } = options === undefined ? {} : check.checkOptions(options);
		check.checkString(dbName, 'options.dbName');
		addon.nodeCheckIdle(connection.handle, 'deserialized');
		connection.epoch += 1;
		addon.nodeDeserialize(connection.handle, dbName, buffer);
	},

	setAuthorizer(callback) {
		const inner = innerOf(this);
		const { handle } = connectionOf(inner);
		if (typeof callback !== 'function' && callback !== null) {
			throw invalidType('The "callback" argument must be a function or null.');
		}
		addon.nodeSetAuthorizer(handle, callback);
		inner.authorizer = callback;
	},

	createModule: require('./module'),
};

for (const key of Reflect.ownKeys(methods)) {
	Object.defineProperty(Database.prototype, key, { value: methods[key], writable: true, configurable: true });
}
if (Symbol.dispose) {
	Database.prototype[Symbol.dispose] = function dispose() {
		const inner = innerOf(this);
		if (inner.connection !== null && addon.nodeIsIdle(inner.connection.handle)) close(inner);
	};
}
show(Database);
Object.defineProperty(Database, 'length', { value: 0 });

// What goes beyond the drop-in has one name, and stays out of sight.
Object.defineProperty(Database.prototype, 'kith', {
	get() {
		const inner = innerOf(this);
		return kithOf(this, inner, connectionOf(inner));
	},
	enumerable: false,
	configurable: true,
});

module.exports = { Database };
