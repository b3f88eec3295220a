// The promise face, in an ES module.
import promises, { open, type Database } from 'kithdb/promises';
import { Database as Driver } from 'kithdb/sqlite3';

const db: Database = await open({ filename: 'app.db', driver: Driver });
const { lastID, changes, stmt } = await db.run('INSERT INTO users(name) VALUES(?)', 'ada');
await stmt.finalize();
const row: { id: number } | undefined = await db.get<{ id: number }>('SELECT id FROM users');
const rows: { id: number }[] = await db.all<{ id: number }[]>({ sql: 'SELECT id FROM users WHERE id = ?', values: [1] });
const count: number = await db.each<{ id: number }>('SELECT id FROM users', (error, { id }) => console.log(id));
const statement = await db.prepare('SELECT 1');
await statement.bind(1);
await db.migrate({ force: true, migrations: [{ id: 1, name: 'a', up: '', down: '' }] });
const driver: Driver = db.getDatabaseInstance();
const same: typeof open = promises.open;

// @ts-expect-error a database has a name
await open({});
// @ts-expect-error what is returned is a promise
db.get<{ id: number }>('SELECT id FROM users').id;

export { lastID, changes, row, rows, count, driver, same };
