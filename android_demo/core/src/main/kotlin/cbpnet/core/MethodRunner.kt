package cbpnet.core

import java.io.Closeable

/**
 * A runtime that has loaded a bundle: all that the learner needs of ExecuTorch.
 *
 * [Program] calls it from one thread at a time and checks names, shapes and types on both sides.
 */
public interface MethodRunner : Closeable {
    /**
     * Runs a method.
     *
     * @param inputs what it takes, by position; [FloatTensor] or [LongTensor] as the manifest says.
     * @return what it gives, by position: copies, which no later call changes.
     * @throws Exception whatever the runtime throws where it cannot run the method.
     */
    public fun run(method: String, inputs: List<Tensor>): List<Tensor>
}
