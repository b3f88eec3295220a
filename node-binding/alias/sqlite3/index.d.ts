export * from 'kithdb/sqlite3';
