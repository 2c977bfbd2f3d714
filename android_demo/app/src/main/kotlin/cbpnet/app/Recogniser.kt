package cbpnet.app

import android.os.Handler
import android.os.Looper
import cbpnet.core.InputException
import cbpnet.core.LearningSession
import cbpnet.core.Prediction
import cbpnet.core.RgbImage
import java.util.concurrent.Executors

/** Recognises the newest frame, one after the other; frames that come meanwhile are let go. */
class Recogniser(private val measurements: Measurements) {
    private val worker = Executors.newSingleThreadExecutor()
    private val main = Handler(Looper.getMainLooper())
    private var busy = false

    /**
     * Takes a frame if nothing is being recognised; on the main thread, and so are the answers.
     *
     * @param onResult is given what it was taken for and how many milliseconds that took.
     * @param onTrouble is given a sentence.
     */
    fun offer(
        session: LearningSession,
        image: RgbImage,
        onResult: (Prediction, Float) -> Unit,
        onTrouble: (String) -> Unit,
    ) {
        if (busy) return
        busy = true
        worker.execute {
            val answer = try {
                val start = System.nanoTime()
                val prediction = session.predict(listOf(image)).single()
                val millis = (System.nanoTime() - start) / 1e6f
                measurements.image(millis);
                { onResult(prediction, millis) }
            } catch (error: InputException) {
                { onTrouble(error.message.orEmpty()) }
            }
            main.post {
                busy = false
                answer()
            }
        }
    }

    fun close() {
        worker.shutdown()
    }
}
