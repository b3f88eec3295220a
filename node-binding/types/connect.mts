// `connect` of the promise face.
import { connect, SqliteError, type ConnectedDatabase, type ConnectedStatement } from 'kithdb/promises';

interface User {
	id: number;
	name: string;
}

const db: ConnectedDatabase = await connect('app.db', { timeout: 100 });
const statement: ConnectedStatement<User> = await db.prepare<User>('SELECT * FROM users WHERE id = ?');
const user: User | undefined = await statement.get(1);
for await (const { name } of await statement.iterate(1)) console.log(name.length);
const { changes, lastInsertRowid } = await db.run('INSERT INTO users(name) VALUES(?)', 'ada');
const add = db.transaction(async (name: string): Promise<number> => (await db.run('INSERT INTO users(name) VALUES(?)', name)).changes);
const added: number = await add.immediate('ada');
const [, { rows, rowsAffected }] = await db.batch<User>([{ sql: 'DELETE FROM users WHERE id = ?', args: [1] }, 'SELECT * FROM users'], 'write');
const first: User | undefined = rows[0];
try {
	await db.close();
} catch (error) {
	if (error instanceof SqliteError) console.log(error.code, error.rawCode?.toFixed());
}

// @ts-expect-error what is returned is a promise
statement.get(1).name;
// @ts-expect-error there is no such option
connect('app.db', { syncUrl: 'http://127.0.0.1' });
// @ts-expect-error a transaction takes what its function does
add(1);
// @ts-expect-error there is no such mode
db.batch(['SELECT 1'], { mode: 'later' });

export { user, changes, lastInsertRowid, added, first, rowsAffected };
