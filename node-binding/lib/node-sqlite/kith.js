'use strict';
// database.kith: the same as that of the main face, over the same connection.

const { load } = require('../addon');
const MainDatabase = require('../database');
const { setInner } = require('../inner');
const Kith = require('../kith');

const addon = load();

/** Makes a database of the main face over a connection that is open. */
function mainFaceOf(inner, { handle }) {
	const database = Object.create(MainDatabase.prototype);
	const mainInner = { addon, handle, safeIntegers: false, kith: undefined, atClose: undefined, transactions: undefined };
	setInner(database, mainInner);
	const getters = {
		name: () => inner.name,
		open: () => addon.isOpen(handle),
		inTransaction: () => addon.inTransaction(handle),
		readonly: () => inner.readOnly,
		memory: () => addon.nodeLocation(handle, 'main') === null,
	};
	for (const key of Object.keys(getters)) Object.defineProperty(database, key, { get: getters[key], enumerable: true });
	return { database, mainInner };
}

/** Returns what a database's `kith` is for the connection that it has now. */
module.exports = function kithOf(outer, inner, connection) {
	if (inner.kith?.connection !== connection) {
		const { database, mainInner } = mainFaceOf(inner, connection);
		// A replica is another connection: the statements that were prepared before are finalized, and what was set since the opening is
		// to be set again.
		const settle = () => {
			connection.epoch += 1;
			const { handle } = connection;
			addon.nodeSetDefensive(handle, inner.defensive);
			inner.lowered.forEach((limit, number) => { if (limit >= 0) addon.nodeLimit(handle, number, limit); });
			if (inner.authorizer !== null) addon.nodeSetAuthorizer(handle, inner.authorizer);
			return outer;
		};
		class FaceKith extends Kith {
			init(options) {
				super.init(options);
				return settle();
			}

			async join(ticket, options) {
				await super.join(ticket, options);
				return settle();
			}
		}
		Object.defineProperty(FaceKith, 'name', { value: 'Kith' });
		inner.kith = { connection, kith: new FaceKith(database, mainInner), end: () => mainInner.atClose?.() };
	}
	return inner.kith.kith;
};
