'use strict'

// Every operation of kafkajs. Arguments: bootstrap, phase, name, records.
// Packages come from NODE_PATH, since they are installed outside the sources.

const kafkajs = require('kafkajs')
const lz4 = require('lz4js')
const xxhash = require('lz4js/xxh32.js')
const snappy = require('snappyjs')
const { ZstdCodec } = require('zstd-codec')

const { CompressionTypes, ConfigResourceTypes, Kafka, logLevel } = kafkajs
const PATIENCE_MS = 60_000
const FIRST = 7
const SECOND = 4
const XERIAL = Buffer.from([0x82, 0x53, 0x4e, 0x41, 0x50, 0x50, 0x59, 0, 0, 0, 0, 1, 0, 0, 0, 1])

class Cannot extends Error {}

const check = (holds, what) => {
  if (!holds) throw new Error(what)
}

const until = async (what, holds) => {
  const end = Date.now() + PATIENCE_MS
  while (!(await holds())) {
    check(Date.now() < end, `waited in vain for ${what}`)
    await new Promise(resolve => setTimeout(resolve, 20))
  }
}

// Blocks of Xerial's framing: a length, then a raw snappy block.
const unsnap = buffer => {
  if (!buffer.subarray(0, 8).equals(XERIAL.subarray(0, 8))) return Buffer.from(snappy.uncompress(buffer))
  const blocks = []
  for (let at = 16; at < buffer.length; ) {
    const size = buffer.readInt32BE(at)
    blocks.push(Buffer.from(snappy.uncompress(buffer.subarray(at + 4, at + 4 + size))))
    at += 4 + size
  }
  return Buffer.concat(blocks)
}

const snap = buffer => {
  const block = Buffer.from(snappy.compress(buffer))
  const size = Buffer.alloc(4)
  size.writeInt32BE(block.length)
  return Buffer.concat([XERIAL, size, block])
}

// lz4js leaves the flag of independent blocks out, which Kafka insists on; a frame of one block has it.
const lz4Frame = buffer => {
  const frame = Buffer.from(lz4.compress(buffer))
  frame[4] |= 0x20
  frame[6] = (xxhash.hash(0, frame, 4, 2) >> 8) & 0xff
  return frame
}

const addCodecs = async () => {
  const zstd = await new Promise(resolve => ZstdCodec.run(binding => resolve(new binding.Simple())))
  const codecs = kafkajs.CompressionCodecs
  codecs[CompressionTypes.Snappy] = () => ({
    compress: async encoder => snap(encoder.buffer),
    decompress: async buffer => unsnap(buffer),
  })
  codecs[CompressionTypes.LZ4] = () => ({
    compress: async encoder => lz4Frame(encoder.buffer),
    decompress: async buffer => Buffer.from(lz4.decompress(buffer)),
  })
  codecs[CompressionTypes.ZSTD] = () => ({
    compress: async encoder => Buffer.from(zstd.compress(encoder.buffer)),
    decompress: async buffer => Buffer.from(zstd.decompress(buffer)),
  })
}

class Client {
  constructor(bootstrap, name) {
    this.kafka = new Kafka({ clientId: 'e2e', brokers: [bootstrap], logLevel: logLevel.WARN })
    this.topic = name
    this.group = `${name}-group`
    this.sent = []
    this.deleted = 0
    this.readers = 0
  }

  freshGroup() {
    this.readers += 1
    return `${this.group}-reader-${this.readers}`
  }

  async admin(call) {
    const admin = this.kafka.admin()
    await admin.connect()
    try {
      return await call(admin)
    } finally {
      await admin.disconnect()
    }
  }

  newTopic(topic, numPartitions) {
    return this.admin(admin => admin.createTopics({ topics: [{ topic, numPartitions }] }))
  }

  async send(label, compression, idempotent) {
    const producer = this.kafka.producer({ idempotent })
    await producer.connect()
    const messages = []
    for (let i = 0; i < 10; i += 1) {
      messages.push({ key: `${label}-key-${i}`, value: `${label}-keyed-${i}` })
      messages.push({ key: null, value: `${label}-${i}` })
    }
    const answers = await producer.send({ topic: this.topic, acks: -1, compression, messages })
    await producer.disconnect()
    this.sent.push(...messages.map(message => `${message.key}=${message.value}`))
    for (const answer of answers) check(Number(answer.baseOffset) >= 0, `answer ${JSON.stringify(answer)}`)
  }

  async one(value) {
    const producer = this.kafka.producer()
    await producer.connect()
    const [answer] = await producer.send({ topic: this.topic, messages: [{ value, partition: 0 }] })
    await producer.disconnect()
    this.sent.push(`null=${value}`)
    return Number(answer.baseOffset)
  }

  // Runs a member of a group until `enough` holds for what it has read.
  async read({ topic = this.topic, group = this.freshGroup(), fromBeginning = true, seek, started, enough }) {
    const consumer = this.kafka.consumer({ groupId: group, sessionTimeout: 6000, heartbeatInterval: 300, maxWaitTimeInMs: 200 })
    const records = []
    await consumer.connect()
    await consumer.subscribe({ topics: [topic], fromBeginning })
    const joined = new Promise(resolve => consumer.on(consumer.events.GROUP_JOIN, resolve))
    await consumer.run({
      autoCommit: false,
      eachMessage: async ({ partition, message }) => records.push({ partition, ...message }),
    })
    try {
      await joined
      for (const position of seek ?? []) consumer.seek({ topic, ...position })
      if (started) await started()
      await until('the records', () => enough(records))
      return records
    } finally {
      await consumer.disconnect()
    }
  }

  async everything(expected) {
    const records = await this.read({ enough: records => records.length >= expected })
    for (const partition of [0, 1]) {
      const offsets = records.filter(r => r.partition === partition).map(r => Number(r.offset))
      offsets.forEach((offset, i) => check(offset === offsets[0] + i, `offsets ${offsets}`))
    }
    check(records.length === expected, `${records.length} records, expected ${expected}`)
    return records
  }

  async beginning() {
    const read = (await this.everything(this.sent.length)).map(r => `${r.key}=${r.value}`).sort()
    check(read.join() === [...this.sent].sort().join(), `read ${read}`)
  }

  async offset() {
    const records = await this.read({
      seek: [{ partition: 0, offset: '3' }, { partition: 1, offset: '3' }],
      enough: found => found.some(r => r.partition === 0 && r.offset === '3'),
    })
    check(records.length > 0, 'nothing at offset 3')
  }

  async timestamp() {
    const all = await this.everything(this.sent.length)
    const wanted = Number(all.filter(r => r.partition === 0).at(-1).timestamp)
    const offsets = all.filter(r => r.partition === 0 && Number(r.timestamp) >= wanted).map(r => Number(r.offset))
    const found = await this.admin(admin => admin.fetchTopicOffsetsByTimestamp(this.topic, wanted))
    const offset = Number(found.find(entry => entry.partition === 0).offset)
    check(offset === Math.min(...offsets), `offset for time is ${offset}, expected ${Math.min(...offsets)}`)
  }

  async end() {
    let offset
    // A first record that was not wanted would show in the list before the wanted one.
    const records = await this.read({
      fromBeginning: false,
      started: async () => {
        await this.settleAtEnd()
        offset = await this.one('at the end')
      },
      enough: found => found.some(r => Number(r.offset) === offset && r.partition === 0),
    })
    check(records.every(r => `${r.value}`.startsWith('at the end')), `read ${records.map(r => r.value)}`)
  }

  // kafkajs resolves "latest" some time after it joined and says nothing: records are sent until
  // it has had the time to see one, so that the wanted one is certain to come after its start.
  async settleAtEnd() {
    for (let i = 0; i < 5; i += 1) {
      await this.one('at the end, early')
      await new Promise(resolve => setTimeout(resolve, 300))
    }
  }

  async foreign() {
    const records = await this.read({ topic: 'foreign', enough: found => found.length === 10 })
    records.forEach((r, i) => check(`${r.key}=${r.value}` === `key${i}=value${i}`, `record ${i} is ${r.value}`))
  }

  member(group) {
    const consumer = this.kafka.consumer({ groupId: group, sessionTimeout: 6000, heartbeatInterval: 300, maxWaitTimeInMs: 200 })
    const member = { seen: new Set(), assigned: [], leave: () => consumer.disconnect() }
    consumer.on(consumer.events.GROUP_JOIN, ({ payload }) => {
      member.assigned = payload.memberAssignment[this.topic] ?? []
    })
    const start = async () => {
      await consumer.connect()
      await consumer.subscribe({ topics: [this.topic], fromBeginning: true })
      await consumer.run({
        autoCommit: false,
        eachMessage: async ({ partition, message }) => member.seen.add(`${partition}@${message.offset}`),
      })
    }
    return start().then(() => member)
  }

  async rebalance() {
    const group = this.freshGroup()
    const first = await this.member(group)
    try {
      await until('both partitions for the only member', () => first.assigned.length === 2)
      const second = await this.member(group)
      try {
        await until('a partition each', () => first.assigned.length === 1 && second.assigned.length === 1)
        check(first.assigned[0] !== second.assigned[0], 'both have the same partition')
      } finally {
        await second.leave()
      }
      await until('both partitions again', () => first.assigned.length === 2)
      await until('every record', () => new Set([...first.seen, ...second.seen]).size === this.sent.length)
    } finally {
      await first.leave()
    }
  }

  async commit(group = this.group, first = FIRST, second = SECOND) {
    const partitions = [{ partition: 0, offset: `${first}`, metadata: 'first' }, { partition: 1, offset: `${second}`, metadata: '' }]
    await this.admin(async admin => {
      await admin.setOffsets({ groupId: group, topic: this.topic, partitions })
      const [found] = await admin.fetchOffsets({ groupId: group, topics: [this.topic] })
      for (const { partition, offset } of found.partitions) {
        check(offset === `${partition === 0 ? first : second}`, `committed ${JSON.stringify(found)}`)
      }
    })
  }

  // A group is moved to the start: kafkajs commits -2, which its consumer reads as its own default.
  async resetOffsets() {
    const moved = `${this.group}-moved`
    await this.commit(moved)
    await this.admin(admin => admin.resetOffsets({ groupId: moved, topic: this.topic, earliest: true }))
    await this.resume(moved, 0, 0, true)
  }

  async resume(group = this.group, zero = FIRST, one = SECOND, fromBeginning = false) {
    const first = {}
    await this.read({
      group,
      fromBeginning,
      enough: records => {
        for (const record of records) first[record.partition] ??= Number(record.offset)
        return Object.keys(first).length === 2
      },
    })
    check(first[0] === zero && first[1] === one, `resumed at ${JSON.stringify(first)}`)
  }

  async config(name) {
    const resources = [{ type: ConfigResourceTypes.TOPIC, name: this.topic }]
    const answer = await this.admin(admin => admin.describeConfigs({ resources }))
    return answer.resources[0].configEntries.find(entry => entry.configName === name).configValue
  }

  async describeConfigs() {
    check((await this.config('retention.ms')) === '604800000', 'default of retention.ms')
  }

  async alterConfigs() {
    const configEntries = [{ name: 'retention.ms', value: '604800001' }]
    const resources = [{ type: ConfigResourceTypes.TOPIC, name: this.topic, configEntries }]
    await this.admin(admin => admin.alterConfigs({ resources }))
    await until('the new value', async () => (await this.config('retention.ms')) === '604800001')
  }

  groups() {
    return this.admin(async admin => (await admin.listGroups()).groups.map(group => group.groupId))
  }

  async listGroups() {
    check((await this.groups()).includes(this.group), 'group is not listed')
  }

  async describeGroup() {
    const { groups } = await this.admin(admin => admin.describeGroups([this.group]))
    check(groups[0].state === 'Empty', `state is ${groups[0].state}`)
  }

  async deleteGroup() {
    const gone = `${this.group}-gone`
    await this.commit(gone, 1, 1)
    await this.admin(admin => admin.deleteGroups([gone]))
    check(!(await this.groups()).includes(gone), 'group is still listed')
  }

  async createPartitions() {
    const topic = `${this.topic}-more`
    await this.newTopic(topic, 1)
    await this.admin(async admin => {
      await admin.createPartitions({ topicPartitions: [{ topic, count: 3 }] })
      await until('three partitions', async () => {
        const { topics } = await admin.fetchTopicMetadata({ topics: [topic] })
        return topics[0].partitions.length === 3
      })
    })
  }

  async deleteRecords() {
    await this.admin(async admin => {
      // kafkajs deletes only from topics whose metadata an earlier call has loaded.
      await admin.fetchTopicOffsets(this.topic)
      await admin.deleteTopicRecords({ topic: this.topic, partitions: [{ partition: 0, offset: '2' }] })
      const offsets = await admin.fetchTopicOffsets(this.topic)
      check(offsets.find(entry => entry.partition === 0).low === '2', `offsets ${JSON.stringify(offsets)}`)
    })
    this.deleted = 2
  }

  async deleteTopic() {
    const gone = `${this.topic}-gone`
    await this.newTopic(gone, 1)
    await this.admin(async admin => {
      await admin.deleteTopics({ topics: [gone] })
      await until('the end of the topic', async () => !(await admin.listTopics()).includes(gone))
    })
  }
}

const run = async (name, operation) => {
  const start = Date.now()
  let outcome = 'ok'
  let detail
  try {
    await operation()
    detail = `${Date.now() - start} ms`
  } catch (error) {
    outcome = error instanceof Cannot ? 'cannot' : 'FAIL'
    detail = `${error}`.replaceAll('\n', ' ')
    console.error(error)
  }
  console.log(`@op\t${name}\t${outcome}\t${detail}`)
}

const main = async () => {
  const [bootstrap, phase, name, records] = process.argv.slice(2)
  await addCodecs()
  const client = new Client(bootstrap, name)
  if (phase === 'after') {
    await run('records_after_restart', () => client.everything(Number(records)))
    await run('resume_after_restart', () => client.resume())
    return
  }
  await run('create_topic', () => client.newTopic(name, 2))
  const codecs = { none: 'None', gzip: 'GZIP', snappy: 'Snappy', lz4: 'LZ4', zstd: 'ZSTD' }
  for (const [codec, type] of Object.entries(codecs)) {
    await run(`produce_${codec}`, () => client.send(codec, CompressionTypes[type], false))
  }
  await run('produce_idempotent', () => client.send('idempotent', CompressionTypes.None, true))
  await run('consume_beginning', () => client.beginning())
  await run('consume_offset', () => client.offset())
  await run('consume_timestamp', () => client.timestamp())
  await run('consume_end', () => client.end())
  await run('read_foreign', () => client.foreign())
  await run('group_rebalance', () => client.rebalance())
  await run('commit', () => client.commit())
  await run('resume', () => client.resume())
  await run('describe_configs', () => client.describeConfigs())
  await run('alter_configs', () => client.alterConfigs())
  await run('list_groups', () => client.listGroups())
  await run('describe_group', () => client.describeGroup())
  await run('delete_group', () => client.deleteGroup())
  await run('reset_offsets', () => client.resetOffsets())
  await run('create_partitions', () => client.createPartitions())
  await run('delete_records', () => client.deleteRecords())
  await run('delete_topic', () => client.deleteTopic())
  console.log(`@state\t${client.sent.length - client.deleted}`)
}

main().then(() => process.exit(0))
