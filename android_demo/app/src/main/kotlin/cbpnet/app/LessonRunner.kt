package cbpnet.app

import cbpnet.core.Forecast
import cbpnet.core.InputException
import cbpnet.core.LearningSession
import cbpnet.core.Lesson
import cbpnet.core.TrainingSettings
import java.util.concurrent.CancellationException
import java.util.concurrent.Executors

/** Where a lesson stands. */
sealed interface LessonState {
    /** There is none. */
    data object None : LessonState

    /** Of [total] looks at pictures [done] are done; [forecast] is there once a one-pass bundle has decided. */
    data class Running(val done: Int, val total: Int, val forecast: Forecast?) : LessonState

    /** It has been learnt and saved. */
    data class Learnt(val lessons: List<Lesson>, val seconds: Long) : LessonState

    /** Nothing was learnt, or, if [unsaved], it was learnt and could not be saved. */
    data class Failed(val message: String, val unsaved: Boolean) : LessonState
}

/**
 * Learns the pictures that wait, whether or not a screen is there to watch.
 *
 * If the system ends the app meanwhile, nothing has been learnt, the pictures still wait, and the
 * lesson can be begun again.
 */
class LessonRunner(private val pictures: PictureStore, private val measurements: Measurements) {
    val state = Live<LessonState>(LessonState.None)
    private val worker = Executors.newSingleThreadExecutor()

    @Volatile
    private var cancelled = false

    /** Begins a lesson of all pictures that wait; [epochs] null are the bundle's; new classes join [joinedTask]. */
    fun start(session: LearningSession, epochs: Int?, joinedTask: Int?) {
        if (state.value is LessonState.Running) return
        cancelled = false
        state.set(LessonState.Running(0, 0, null))
        worker.execute { state.set(outcome(session) { learn(session, epochs, joinedTask) }) }
    }

    /** Ends the lesson before its next step; nothing will have been learnt. */
    fun cancel() {
        cancelled = true
    }

    /** Tries once more to save what could not be saved. */
    fun saveAgain(session: LearningSession) {
        worker.execute {
            state.set(
                outcome(session) {
                    session.save()
                    finished(session.knowledge.classNames)
                    LessonState.None
                },
            )
        }
    }

    /** The screens have shown how it ended. */
    fun clear() {
        if (state.value !is LessonState.Running) state.set(LessonState.None)
    }

    private fun learn(session: LearningSession, epochs: Int?, joinedTask: Int?): LessonState {
        var forecast: Forecast? = null
        var looks = 0
        val shown = pictures.labels().associateWith { label -> pictures.waiting(label).map(::PictureFile) }
        val start = System.nanoTime()
        val lessons = session.learn(
            shown,
            TrainingSettings(epochs),
            joinedTask,
            progress = { done, total ->
                looks = done
                state.set(LessonState.Running(done, total, forecast))
            },
            decided = {
                forecast = it
                state.set(LessonState.Running(looks, looks + it.looks, it))
            },
            cancelled = { cancelled },
        )
        val millis = (System.nanoTime() - start) / 1_000_000
        measurements.lesson(millis, looks)
        finished(shown.keys)
        return LessonState.Learnt(lessons, millis / 1000)
    }

    private fun finished(labels: Collection<String>) = pictures.learnt(labels)

    private fun outcome(session: LearningSession, work: () -> LessonState): LessonState = try {
        work()
    } catch (_: CancellationException) {
        LessonState.None
    } catch (error: InputException) {
        LessonState.Failed(error.message.orEmpty(), session.unsaved)
    } catch (_: OutOfMemoryError) {
        LessonState.Failed("There is not enough memory for so many pictures. Delete some.", unsaved = false)
    }
}
