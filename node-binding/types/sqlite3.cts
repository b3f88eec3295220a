// The callback face, in a CommonJS module.
import sqlite3 = require('kithdb/sqlite3');

const db = new sqlite3.Database(':memory:', (error) => { if (error) throw error; });
db.get<{ n: number }>('SELECT 1 AS n', (error, row) => row.n.toFixed());

// @ts-expect-error a database has a name
new sqlite3.Database();

export = db;
