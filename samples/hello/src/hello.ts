import { Handler, Rpc, Service } from 'tenon';

/** Answers calls. Without a `.proto` its messages travel as JSON. */
@Handler('hello.Hello')
export class HelloHandler {
  @Rpc()
  async greet(request: { name: string }): Promise<{ text: string }> {
    return { text: `Hello, ${request.name}!` };
  }
}

@Service({ name: 'hello', handlers: [HelloHandler] })
export class Hello {}
