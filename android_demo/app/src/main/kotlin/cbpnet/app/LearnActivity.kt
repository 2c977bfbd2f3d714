package cbpnet.app

import android.app.Activity
import android.content.Intent
import android.os.Bundle
import android.view.View
import android.view.WindowManager.LayoutParams.FLAG_KEEP_SCREEN_ON
import android.widget.Button
import android.widget.ProgressBar
import android.widget.TextView
import cbpnet.core.Forecast
import kotlin.math.roundToInt

/** Watches a lesson, which goes on without it. */
class LearnActivity : Activity() {
    private lateinit var text: TextView
    private lateinit var progress: ProgressBar
    private lateinit var button: Button
    private val showState = ::show

    override fun onCreate(savedInstanceState: Bundle?) {
        super.onCreate(savedInstanceState)
        setContentView(R.layout.learn)
        text = view(R.id.learn_text)
        progress = view(R.id.learn_progress)
        button = view(R.id.learn_button)
    }

    override fun onStart() {
        super.onStart()
        demo.lesson.state.observe(showState)
    }

    override fun onStop() {
        demo.lesson.state.ignore(showState)
        super.onStop()
    }

    private fun show(state: LessonState) {
        progress.visibility = if (state is LessonState.Running) View.VISIBLE else View.INVISIBLE
        when (state) {
            LessonState.None -> leave()
            is LessonState.Running -> running(state)
            is LessonState.Learnt -> ended(learnt(state), R.string.done, ::leave)
            is LessonState.Failed ->
                if (state.unsaved) {
                    ended(state.message, R.string.save_again, ::saveAgain)
                } else {
                    ended(state.message, R.string.back, ::backToPictures)
                }
        }
    }

    private fun running(state: LessonState.Running) {
        window.addFlags(FLAG_KEEP_SCREEN_ON)
        progress.isIndeterminate = state.total == 0
        progress.max = state.total
        progress.progress = state.done
        text.text = listOfNotNull(state.forecast?.let(::decided), getString(R.string.learning)).joinToString("\n\n")
        button.setText(R.string.cancel)
        button.setOnClickListener {
            it.isEnabled = false
            demo.lesson.cancel()
        }
    }

    private fun decided(forecast: Forecast): String =
        if (forecast.decision.adapts) {
            getString(R.string.adapting, forecast.seconds.roundToInt())
        } else {
            resources.getQuantityString(R.plurals.looked_at, forecast.images, forecast.images)
        }

    private fun ended(message: String, label: Int, action: () -> Unit) {
        window.clearFlags(FLAG_KEEP_SCREEN_ON)
        text.text = message
        button.setText(label)
        button.isEnabled = true
        button.setOnClickListener { action() }
    }

    private fun learnt(state: LessonState.Learnt): String {
        val names = state.lessons.flatMap { it.new + it.known }
        val images = state.lessons.sumOf { it.images }
        return getString(R.string.learnt, names.joinToString(), images, state.seconds)
    }

    private fun saveAgain() {
        demo.learner.session?.let(demo.lesson::saveAgain)
    }

    private fun backToPictures() {
        startActivity(Intent(this, TeachActivity::class.java))
        leave()
    }

    private fun leave() {
        demo.lesson.clear()
        finish()
    }
}
