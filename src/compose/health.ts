import { HealthCheckResponse_ServingStatus, HealthDefinition } from '../gen/grpc/health/v1/health.ts';
import { connect } from '../rpc/client.ts';

/** Whether the server at `target` says that it serves. @throws unavailable or timed-out if it cannot be asked. */
export async function checkHealth(target: string, timeoutMs: number): Promise<boolean> {
  const client = connect(target);
  try {
    const { check } = HealthDefinition.methods;
    const options = { signal: new AbortController().signal, timeoutMs };
    const { status } = await client.unary(HealthDefinition, check, { service: '' }, options);
    return status === HealthCheckResponse_ServingStatus.SERVING;
  } finally {
    client.close();
  }
}
