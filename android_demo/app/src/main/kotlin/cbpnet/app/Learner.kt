package cbpnet.app

import cbpnet.core.InputException
import cbpnet.core.LearningSession
import cbpnet.core.Program
import cbpnet.core.StateStore
import cbpnet.core.readManifest
import cbpnet.executorch.ExecuTorchRunner
import java.io.File
import java.util.concurrent.Executors

/** Whether there is something to learn with. */
sealed interface LearnerState {
    /** A bundle is being opened. */
    data object Opening : LearnerState

    /** The app came without a bundle, and none has been chosen. */
    data object NoBundle : LearnerState

    /** The bundle or what was learnt cannot be used; the message says why. */
    data class Failed(val message: String) : LearnerState

    /** A session on a bundle, the file [bundle]. */
    class Ready(val session: LearningSession, val bundle: File) : LearnerState
}

/** The app's one learner, which is opened again when another bundle or other threads are chosen. */
class Learner(private val bundles: BundleFiles, private val states: File, private val settings: Settings) {
    val state = Live<LearnerState>(LearnerState.Opening)

    /** The session, or null where there is none now. */
    val session: LearningSession? get() = (state.value as? LearnerState.Ready)?.session
    private val worker = Executors.newSingleThreadExecutor()
    private var runner: ExecuTorchRunner? = null

    /** Opens the bundle that is to be used, in the background; [before] is done first. */
    fun open(before: () -> Unit = {}) {
        state.set(LearnerState.Opening)
        worker.execute {
            state.set(
                try {
                    before()
                    opened()
                } catch (error: InputException) {
                    LearnerState.Failed(error.message.orEmpty())
                } catch (error: RuntimeException) {
                    LearnerState.Failed("The bundle cannot be run on this phone (${error.message}). Choose another one.")
                },
            )
        }
    }

    private fun opened(): LearnerState {
        val bundle = bundles.current()
        runner?.close()
        runner = null
        if (bundle == null) return LearnerState.NoBundle
        val manifest = readManifest(bundle)
        val opened = ExecuTorchRunner(bundle.path, settings.threads)
        runner = opened
        val session = LearningSession(Program(opened, manifest), StateStore.of(states, manifest))
        return LearnerState.Ready(session, bundle)
    }
}
