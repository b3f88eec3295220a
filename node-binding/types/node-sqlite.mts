// The face of node:sqlite, in an ES module, with what @types/node does not have yet.
import { Database, DatabaseSync, Statement, type Kith } from 'kithdb/node-sqlite';

const db: Database = new DatabaseSync('app.db');
db.createModule('numbers', { columns: [{ name: 'n', type: 'INTEGER', hidden: false }], *rows(from) { yield [from]; } });
const statement: Statement = db.prepare('SELECT 1', { persistent: true });
const steps: number = statement.stat('vmStep');
statement.resetStats();
statement.close();
const kith: Kith = db.kith;
const founded: Database = kith.init({ name: 'laptop' });
const joined: Promise<Database> = kith.join('kith1…', { name: 'phone' });

// @ts-expect-error what is counted is one of the counters
statement.stat('speed');
// @ts-expect-error a column has a type that SQLite knows
db.createModule('numbers', { columns: [{ name: 'n', type: 'NUMBER' }], *rows() { yield [1]; } });

export { steps, founded, joined };
