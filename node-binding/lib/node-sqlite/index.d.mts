// The same for `import`.
import sqlite = require('./index.js');

export default sqlite;
export * from './index.js';
