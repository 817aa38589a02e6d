// Reports failures, and how many tests there were.

export default async function* report(events) {
  const count = { passed: 0, failed: 0 };
  for await (const { type, data } of events) {
    if (type === 'test:stdout' || type === 'test:stderr') {
      yield data.message;
    } else if ((type === 'test:pass' || type === 'test:fail') && data.details.type !== 'suite') {
      count[type === 'test:pass' ? 'passed' : 'failed']++;
      if (type === 'test:fail') {
        const { cause, message } = data.details.error;
        yield `${data.file}: ${data.name}\n${cause?.stack ?? message}\n\n`;
      }
    }
  }
  yield `${count.passed} passed, ${count.failed} failed\n`;
}
