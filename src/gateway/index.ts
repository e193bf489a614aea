export type { HttpLimits } from './limits.ts'
export { createGateway, type Gateway, type GatewayAddress, type GatewayOptions } from './server.ts'
