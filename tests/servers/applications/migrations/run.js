'use strict'
// node run.js knex|typeorm latest|rollback N: the first N migrations of the tool, on DATABASE_URL. The third breaks its process.
require('reflect-metadata')
const [tool, command, count] = process.argv.slice(2)
const url = process.env.DATABASE_URL

async function knex() {
  const all = { '1_users.js': 'users', '2_orders.js': 'orders', '3_killed.js': null }
  const migrationSource = {
    getMigrations: async () => Object.keys(all).slice(0, Number(count)),
    getMigrationName: (name) => name,
    getMigration: async (name) => ({
      config: { transaction: Boolean(all[name]) },  // else the lock is rolled back with it
      up: (db) => (all[name] ? db.schema.createTable(all[name], (table) => table.increments()) : process.kill(process.pid, 'SIGKILL')),
      down: (db) => db.schema.dropTable(all[name]),
    }),
  }
  const db = require('knex')({ client: 'pg', connection: url, migrations: { migrationSource } })
  await db.migrate[command]()
  await db.destroy()
}

async function typeorm() {
  const { DataSource } = require('typeorm')
  class Users1700000000001 { up(db) { return db.query('CREATE TABLE users (id int)') } down(db) { return db.query('DROP TABLE users') } }
  class Orders1700000000002 { up(db) { return db.query('CREATE TABLE orders (id int)') } down(db) { return db.query('DROP TABLE orders') } }
  const source = new DataSource({ type: 'postgres', url, migrations: [Users1700000000001, Orders1700000000002].slice(0, Number(count)) })
  await source.initialize()
  await (command === 'latest' ? source.runMigrations() : source.undoLastMigration())
  await source.destroy()
}

const tools = { knex, typeorm }
tools[tool]().catch((error) => { console.error(error); process.exit(1) })
