'use strict';
// db.transaction(): a function that runs inside a transaction, or inside a savepoint when one is open.

const { innerOf } = require('../inner');

const SAVEPOINT = '`\t_kith_transaction\t`';

function statementsOf(database) {
	const inner = innerOf(database);
	let found = inner.transactions;
	if (found === undefined) {
		const { addon, handle } = inner;
		const prepare = (sql) => {
			const statement = addon.prepare(handle, sql, false);
			return () => addon.run(statement, 0);
		};
		const commit = prepare('COMMIT');
		const rollback = prepare('ROLLBACK');
		const begin = (kind) => ({ begin: prepare(`BEGIN ${kind}`), commit, rollback, undo: undefined });
		found = {
			default: { ...begin('DEFERRED'), begin: prepare('BEGIN') },
			deferred: begin('DEFERRED'),
			immediate: begin('IMMEDIATE'),
			exclusive: begin('EXCLUSIVE'),
			nested: {
				begin: prepare(`SAVEPOINT ${SAVEPOINT}`),
				commit: prepare(`RELEASE ${SAVEPOINT}`),
				rollback: prepare(`ROLLBACK TO ${SAVEPOINT}`),
				undo: prepare(`RELEASE ${SAVEPOINT}`),
			},
		};
		inner.transactions = found;
	}
	return found;
}

function isPromise(value) {
	return value !== null && (typeof value === 'object' || typeof value === 'function') && typeof value.then === 'function';
}

function wrap(database, fn, kind) {
	return function sqliteTransaction() {
		const all = statementsOf(database);
		const steps = database.inTransaction ? all.nested : all[kind];
		steps.begin();
		try {
			const result = Reflect.apply(fn, this, arguments);
			if (isPromise(result)) throw new TypeError('Transaction function cannot return a promise');
			steps.commit();
			return result;
		} catch (error) {
			// SQLite may have rolled back by itself, or the function may have ended the transaction.
			if (database.inTransaction) {
				steps.rollback();
				steps.undo?.();
			}
			throw error;
		}
	};
}

module.exports = function transaction(fn) {
	if (typeof fn !== 'function') throw new TypeError('Expected first argument to be a function');
	statementsOf(this);
	const variants = {};
	for (const kind of ['default', 'deferred', 'immediate', 'exclusive']) variants[kind] = wrap(this, fn, kind);
	const shared = { database: { value: this, enumerable: true } };
	for (const kind of Object.keys(variants)) shared[kind] = { value: variants[kind] };
	for (const variant of Object.values(variants)) Object.defineProperties(variant, shared);
	return variants.default;
};
