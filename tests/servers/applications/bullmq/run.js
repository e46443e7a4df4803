// Works on queues of BullMQ (`work`), or does to the first of them what an application does: add NAME DATA OPTIONS, pause, resume.
// QUEUES are their names, PREFIX is that of their keys.
const { Queue, Worker } = require("bullmq");

const redis = new URL(process.env.REDIS_URL);
const connection = { host: redis.hostname, port: Number(redis.port), db: Number(redis.pathname.slice(1)), maxRetriesPerRequest: null };
const names = process.env.QUEUES.split(",");
const shared = { connection, prefix: process.env.PREFIX };

function work() {
  for (const name of names) {
    const worker = new Worker(name, (job) => new Promise((done) => setTimeout(done, job.data.takes ?? 0)), shared);
    worker.on("error", (error) => console.log(`error: ${error.message}`));
    worker.on("ready", () => console.log(`ready for ${name}`));
  }
}

async function act(what, data = "{}", options = "{}") {
  const queue = new Queue(names[0], shared);
  if (what === "add") await queue.add("work", JSON.parse(data), JSON.parse(options));
  else await queue[what]();
  await queue.close();
}

const [what, ...given] = process.argv.slice(2);
if (what === "work") work();
else act(what, ...given);
