package cbpnet.app

import android.content.Context
import android.util.AttributeSet
import android.view.MotionEvent
import android.widget.Button

/** Takes pictures as long as it is held; a click, as a screen reader or a keyboard gives it, takes one. */
class ShutterButton(context: Context, attributes: AttributeSet) : Button(context, attributes) {
    /** Takes a picture; false ends the row. */
    var onShot: () -> Boolean = { false }
    private val repeat = object : Runnable {
        override fun run() {
            if (onShot()) postDelayed(this, INTERVAL_MILLIS)
        }
    }

    /** Ends the row, as letting go does. */
    fun release() {
        isPressed = false
        removeCallbacks(repeat)
    }

    override fun onTouchEvent(event: MotionEvent): Boolean {
        when (event.actionMasked) {
            MotionEvent.ACTION_DOWN -> {
                // A list around it would take a trembling finger for scrolling.
                parent.requestDisallowInterceptTouchEvent(true)
                isPressed = true
                post(repeat)
            }
            MotionEvent.ACTION_UP, MotionEvent.ACTION_CANCEL -> release()
        }
        return true
    }

    override fun performClick(): Boolean {
        super.performClick()
        return onShot()
    }

    private companion object {
        const val INTERVAL_MILLIS = 250L
    }
}
