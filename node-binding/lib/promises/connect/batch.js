'use strict';
// Several statements one after the other, with or without a transaction around them, in the shape of libsql's batch.

const MODES = { write: 'IMMEDIATE', read: 'DEFERRED', deferred: 'DEFERRED', immediate: 'IMMEDIATE', exclusive: 'EXCLUSIVE' };

/** Runs the statements; resolves to what came of each. What fails ends the batch, and undoes the transaction that it began. */
async function batch(database, statements, options) {
	if (!Array.isArray(statements)) throw new TypeError('Expected first argument to be an array of statements');
	const { begin, isRaw } = readOptions(options);
	const isWithin = begin !== undefined && !database.inTransaction;
	if (isWithin) await database.exec(begin);
	const results = [];
	try {
		for (const statement of statements) results.push(await runOne(database, statement, isRaw));
		if (isWithin) await database.exec('COMMIT');
	} catch (error) {
		// It may be gone already, which the error tells of.
		if (isWithin && database.inTransaction) await database.exec('ROLLBACK');
		throw error;
	}
	return results;
}

async function runOne(database, given, isRaw) {
	const { sql, args } = typeof given === 'object' && given !== null ? given : { sql: given };
	const statement = await database.prepare(sql);
	const described = statement.columns();
	const columns = described.map(({ name }) => name);
	const columnTypes = described.map(({ type }) => type ?? '');
	const parameters = args === undefined ? [] : [args];
	if (statement.reader) return { columns, columnTypes, rows: await statement.raw(isRaw).all(...parameters), rowsAffected: 0 };
	const { changes } = await statement.run(...parameters);
	return { columns, columnTypes, rows: [], rowsAffected: changes };
}

function readOptions(options) {
	const { mode, raw } = typeof options === 'object' && options !== null ? options : { mode: options };
	if (mode === undefined || mode === null) return { begin: undefined, isRaw: raw === true };
	const name = String(mode).toLowerCase();
	if (!Object.hasOwn(MODES, name)) throw new TypeError(`batch has no mode "${mode}"; it has ${Object.keys(MODES).join(', ')}`);
	return { begin: `BEGIN ${MODES[name]}`, isRaw: raw === true };
}

module.exports = batch;
